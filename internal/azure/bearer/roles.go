package bearer

import (
	"bytes"
	"fmt"
	"strings"

	"pagevault/internal/azure/op"
)

// Roles says who has which role, and where. It is not changed once it is parsed.
//
// Its text has one assignment a line, the rest of a line after # is a remark:
//
//	ROLE         WHO                                        WHERE
//	contributor  oid:7d1e7a0e-0f57-4b9a-8b2f-6a3b1f0f5c11   disks
//	reader       group:backup operators                     disks/vms
//	owner        role:Storage.Admin                         *
//
// ROLE is one of op.Roles. WHO is oid:, sub:, role: or group: and the value of that claim, of roles and groups one of
// them; or * for whoever has a token. WHERE is ACCOUNT, ACCOUNT/CONTAINER, or * for all accounts.
type Roles struct {
	of map[string][]assignment // by the claim and its value: "oid:…"; "*"
}

// assignment is a role somewhere.
type assignment struct {
	account, container string // "": all
	allowed            op.Action
}

// rolesMax bounds the text: 10,000 lines.
const rolesMax = 1 << 20

// owner is what may be done by whoever may do everything.
var owner = op.Roles[2].Allowed

// ParseRoles reads roles, which may be none. An error names the line.
func ParseRoles(text []byte) (*Roles, error) {
	if len(text) > rolesMax {
		return nil, fmt.Errorf("%d bytes: want at most %d", len(text), rolesMax)
	}
	r := &Roles{of: map[string][]assignment{}}
	for n, line := range bytes.Split(text, []byte{'\n'}) {
		body, _, _ := strings.Cut(string(line), "#")
		if body = strings.TrimSpace(body); body == "" {
			continue
		}
		if err := r.add(body); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return r, nil
}

// Empty reports whether nobody has a role.
func (r *Roles) Empty() bool { return len(r.of) == 0 }

func (r *Roles) add(line string) error {
	words := strings.Fields(line)
	if len(words) < 3 {
		return fmt.Errorf("want ROLE WHO WHERE")
	}
	role, where := words[0], words[len(words)-1]
	who := strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(line, role), where)) // white space within it counts
	var a assignment
	for i := range op.Roles {
		if op.Roles[i].Name == role {
			a.allowed = op.Roles[i].Allowed
		}
	}
	if a.allowed == 0 {
		return fmt.Errorf("%q is not reader, contributor, owner or delegator", role)
	}
	claim, value, ok := strings.Cut(who, ":")
	switch {
	case who == "*":
	case !ok || value == "" || claim != "oid" && claim != "sub" && claim != "role" && claim != "group":
		return fmt.Errorf("%q is not oid:ID, sub:SUBJECT, role:NAME, group:NAME or *", who)
	case claim == "oid":
		who = "oid:" + strings.ToLower(value)
	}
	if where != "*" {
		a.account, a.container, ok = strings.Cut(where, "/")
		if a.account == "" || strings.Contains(a.container, "/") || ok && a.container == "" || strings.Contains(where, "*") {
			return fmt.Errorf("%q is not ACCOUNT, ACCOUNT/CONTAINER or *", where)
		}
	}
	r.of[who] = append(r.of[who], a)
	return nil
}

// ofClaims returns what all roles together allow to whoever has these claims, on a container or, "", on the account.
func (r *Roles) ofClaims(c *Claims, account, container string) (allowed op.Action) {
	add := func(who string) {
		for _, a := range r.of[who] {
			if (a.account == "" || a.account == account) && (a.container == "" || a.container == container) {
				allowed |= a.allowed
			}
		}
	}
	add("*")
	if c.ObjectID != "" {
		add("oid:" + strings.ToLower(c.ObjectID))
	}
	if c.Subject != "" {
		add("sub:" + c.Subject)
	}
	for _, name := range c.Roles {
		add("role:" + name)
	}
	for _, name := range c.Groups {
		add("group:" + name)
	}
	return allowed
}
