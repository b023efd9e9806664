package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// adminAnswerMax bounds how much is read of an answer of the admin listener.
const adminAnswerMax = 16 << 20

// adminOccupied asks a server what an account takes.
func adminOccupied(ctx context.Context, admin, account string) (Occupied, error) {
	body, err := adminDo(ctx, http.MethodGet, admin+"/accounts?account="+url.QueryEscape(account))
	if err != nil {
		return Occupied{}, err
	}
	var list struct{ Accounts []Occupied }
	if err := json.Unmarshal(body, &list); err != nil {
		return Occupied{}, fmt.Errorf("%s/accounts: %w", admin, err)
	}
	if len(list.Accounts) != 1 {
		return Occupied{}, fmt.Errorf("%s/accounts tells of %d accounts", admin, len(list.Accounts))
	}
	return list.Accounts[0], nil
}

// adminMaintain has a server do all its background work now, and waits until it is done.
func adminMaintain(ctx context.Context, admin string) error {
	_, err := adminDo(ctx, http.MethodPost, admin+"/maintain")
	return err
}

// adminDo makes a request to the admin listener and returns the body of the answer.
func adminDo(ctx context.Context, method, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, adminAnswerMax))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, url, err)
	}
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed {
		return nil, fmt.Errorf("%s %s: %w", method, url, errNotApplicable)
	}
	if resp.StatusCode != http.StatusOK {
		line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
		return nil, fmt.Errorf("%s %s: %w", method, url, &StatusError{Status: resp.StatusCode, Message: line})
	}
	return body, nil
}
