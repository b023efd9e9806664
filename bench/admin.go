package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// adminAnswerMax bounds how much is read of an answer of the admin listener.
const adminAnswerMax = 16 << 20

// adminOccupied reads from a server's metrics what an account takes.
func adminOccupied(ctx context.Context, admin, account string) (Occupied, error) {
	body, err := adminDo(ctx, http.MethodGet, admin+"/metrics")
	if err != nil {
		return Occupied{}, err
	}
	m := accountMetrics(body, account)
	stored, ok := m["pagevault_log_data_bytes"]
	if !ok {
		return Occupied{}, fmt.Errorf("%s/metrics says nothing about account %s", admin, account)
	}
	return Occupied{
		StoredBytes:   int64(stored),
		UniqueBytes:   int64(m["pagevault_unique_bytes"]),
		MetadataBytes: int64(m["pagevault_log_bytes"] - stored + m["pagevault_index_bytes"]),
		IndexBytes:    int64(m["pagevault_index_bytes"]),
	}, nil
}

// accountMetrics returns the metrics of one account out of the text that Prometheus reads.
func accountMetrics(text, account string) map[string]float64 {
	out := map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), `{account="`+account+`"} `)
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			out[name] = v
		}
	}
	return out
}

// adminMaintain has a server do all its background work now, and waits until it is done.
func adminMaintain(ctx context.Context, admin string) error {
	_, err := adminDo(ctx, http.MethodPost, admin+"/maintain")
	return err
}

// adminDo makes a request to the admin listener and returns the body of the answer.
func adminDo(ctx context.Context, method, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, adminAnswerMax))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", method, url, err)
	}
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed {
		return "", fmt.Errorf("%s %s: %w", method, url, errNotApplicable)
	}
	if resp.StatusCode != http.StatusOK {
		line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
		return "", fmt.Errorf("%s %s: %w", method, url, &StatusError{Status: resp.StatusCode, Message: line})
	}
	return string(body), nil
}
