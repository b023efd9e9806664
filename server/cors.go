package server

import (
	"strconv"
	"strings"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xmlbody"
)

// CORS: the rules by which the owner of an account lets pages of other origins use it from a browser. They decide what a
// browser shows to such a page, never whether a request is carried out: that is for its signature.

// corsPreflight: Preflight Blob Request. A browser asks it before a request that is not simple, without credentials.
func (r *request) corsPreflight() error {
	for _, id := range [...]header.ID{header.Origin, header.AccessControlRequestMethod} {
		if len(r.headers.Get(id)) == 0 {
			return azerr.BadHeader(id.String(), r.headers.String(id))
		}
	}
	p, err := r.account.ServiceProperties()
	if err != nil {
		return err
	}
	origin, method := r.headers.String(header.Origin), r.headers.String(header.AccessControlRequestMethod)
	asked := r.headers.String(header.AccessControlRequestHeaders)
	rule := corsRule(p.Cors, origin, method, asked)
	if rule == nil {
		return azerr.CorsPreflightFailure
	}
	r.begin(200)
	r.setAllowed(rule, origin)
	r.setString("Access-Control-Allow-Methods", method)
	if asked != "" {
		r.setString("Access-Control-Allow-Headers", asked)
	}
	r.setString("Access-Control-Max-Age", strconv.Itoa(rule.MaxAgeInSeconds))
	return nil
}

// setCORS adds to a reply of any kind what lets a page of another origin see it, if a rule does. A reply that depends on the
// origin says so to caches.
func (r *request) setCORS() {
	if !r.headers.Has(header.Origin) || r.account == nil || r.ctx.IsOptions() {
		return
	}
	p, err := r.account.ServiceProperties()
	if err != nil || len(p.Cors) == 0 {
		return // the request itself does not fail for it
	}
	origin := r.headers.String(header.Origin)
	rule := corsRule(p.Cors, origin, string(r.ctx.Method()), "")
	if rule == nil {
		r.setString("Vary", "Origin")
		return
	}
	r.setAllowed(rule, origin)
	if rule.ExposedHeaders != "" {
		r.setString("Access-Control-Expose-Headers", rule.ExposedHeaders)
	}
}

// setAllowed tells the browser that the origin may have the reply.
func (r *request) setAllowed(rule *xmlbody.CorsRule, origin string) {
	if allowsAll(rule.AllowedOrigins) {
		r.setString("Access-Control-Allow-Origin", "*")
		return
	}
	r.setString("Access-Control-Allow-Origin", origin)
	r.setString("Access-Control-Allow-Credentials", "true")
	r.setString("Vary", "Origin")
}

// corsRule returns the first rule that allows a request, nil if none does. headers are those it is to have, separated by
// commas.
func corsRule(rules []xmlbody.CorsRule, origin, method, headers string) *xmlbody.CorsRule {
	for i := range rules {
		if r := &rules[i]; allowsOrigin(r.AllowedOrigins, origin) && listed(r.AllowedMethods, method) && allowsHeaders(r.AllowedHeaders, headers) {
			return r
		}
	}
	return nil
}

// listed reports whether a list separated by commas has an entry.
func listed(list, want string) bool {
	for e := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(e) == want {
			return true
		}
	}
	return false
}

func allowsAll(origins string) bool { return listed(origins, "*") }

// allowsOrigin reports whether a list of origins has one: itself, * for all, or a * in place of the first labels of the host,
// as in https://*.example.org.
func allowsOrigin(origins, origin string) bool {
	for e := range strings.SplitSeq(origins, ",") {
		e = strings.TrimSpace(e)
		if e == "*" || e == origin {
			return true
		}
		before, after, ok := strings.Cut(e, "*")
		if ok && strings.HasPrefix(after, ".") && (before == "" || strings.HasSuffix(before, "://")) &&
			len(origin) > len(before)+len(after) && strings.HasPrefix(origin, before) && strings.HasSuffix(origin, after) {
			return true
		}
	}
	return false
}

// allowsHeaders reports whether a list of names and prefixes, which end with *, has all of the headers, in any case.
func allowsHeaders(allowed, headers string) bool {
	for h := range strings.SplitSeq(headers, ",") {
		if h = strings.ToLower(strings.TrimSpace(h)); h != "" && !allowsHeader(allowed, h) {
			return false
		}
	}
	return true
}

func allowsHeader(allowed, name string) bool {
	for e := range strings.SplitSeq(allowed, ",") {
		e = strings.ToLower(strings.TrimSpace(e))
		prefix, ok := strings.CutSuffix(e, "*")
		if e == name || ok && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
