// Package cond decides the conditional headers of HTTP as the Blob service does, which is not quite as RFC 9110 does:
// reads combine them all, writes take one or one of two pairs, and creates have answers of their own.
//
// It is pure. The caller brings the ETag and Last-Modified of the resource and, for anything but a create, has found
// that the resource exists: a missing one is 404 whatever the conditions say.
package cond

import (
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/tagexpr"
)

// Conditions are the conditional headers of one request. The zero value has none.
type Conditions struct {
	match, noneMatch               list
	modifiedSince, unmodifiedSince date
	tags                           *tagexpr.Condition // nil: none
}

// list is If-Match or If-None-Match.
type list struct {
	given bool
	any   bool // *
	count int  // entity tags in the header, also those that cannot match
	first ETag // of those that can match; 0, which no resource has, when there is none
	more  []ETag
}

// date is one of the two dates, in whole seconds.
type date struct {
	given bool
	unix  int64
}

// Parse reads If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since and x-ms-if-tags, as blob operations take
// them. A header that cannot be read is InvalidHeaderValue, an empty one too.
func Parse(s *header.Set) (Conditions, error) {
	return parse(s, &names{header.IfMatch, header.IfNoneMatch, header.IfModifiedSince, header.IfUnmodifiedSince, header.XMsIfTags})
}

// ParseBlob reads the same conditions under the names that operations on a blob's tags have for them, x-ms-blob-if-match
// and so on.
func ParseBlob(s *header.Set) (Conditions, error) {
	return parse(s, &names{header.XMsBlobIfMatch, header.XMsBlobIfNoneMatch, header.XMsBlobIfModifiedSince,
		header.XMsBlobIfUnmodifiedSince, header.XMsIfTags})
}

// names are the headers that hold the conditions.
type names struct{ match, noneMatch, modifiedSince, unmodifiedSince, tags header.ID }

func parse(s *header.Set, n *names) (c Conditions, err error) {
	if c.match, err = parseList(s, n.match); err != nil {
		return Conditions{}, err
	}
	if c.noneMatch, err = parseList(s, n.noneMatch); err != nil {
		return Conditions{}, err
	}
	if err = c.parseDates(s, n); err != nil {
		return Conditions{}, err
	}
	if err = c.parseTags(s, n.tags); err != nil {
		return Conditions{}, err
	}
	return c, nil
}

// parseTags reads a condition on tags.
func (c *Conditions) parseTags(s *header.Set, id header.ID) (err error) {
	if !s.Has(id) {
		return nil
	}
	if c.tags, err = tagexpr.ParseCondition(s.String(id)); err != nil {
		e := azerr.BadHeader(id.String(), s.String(id))
		e.Cause = err
		return e
	}
	return nil
}

// ParseDates reads the two dates, which is what container operations take. An If-Match or If-None-Match is
// ConditionHeadersNotSupported: a condition that is not looked at must not seem to hold.
func ParseDates(s *header.Set) (Conditions, error) {
	if s.Has(header.IfMatch) || s.Has(header.IfNoneMatch) {
		return Conditions{}, azerr.ConditionHeadersNotSupported
	}
	var c Conditions
	if err := c.parseDates(s, &names{modifiedSince: header.IfModifiedSince, unmodifiedSince: header.IfUnmodifiedSince}); err != nil {
		return Conditions{}, err
	}
	return c, nil
}

// ParseSource reads the conditions on the source of a copy: the same five with x-ms-source- before their names.
func ParseSource(s *header.Set) (Conditions, error) {
	return parse(s, &names{header.XMsSourceIfMatch, header.XMsSourceIfNoneMatch, header.XMsSourceIfModifiedSince,
		header.XMsSourceIfUnmodifiedSince, header.XMsSourceIfTags})
}

// Empty reports whether there are no conditions.
func (c *Conditions) Empty() bool {
	return !c.match.given && !c.noneMatch.given && !c.modifiedSince.given && !c.unmodifiedSince.given && c.tags == nil
}

// HasTags reports whether there is a condition on tags.
func (c *Conditions) HasTags() bool { return c.tags != nil }

// CheckTags decides the condition on tags, which is asked after the others. A blob that does not exist has none. It
// returns nil or ConditionNotMet (412), for reads too.
func (c *Conditions) CheckTags(tags tagexpr.Tags) error {
	if c.tags != nil && !c.tags.Holds(tags) {
		return azerr.ConditionNotMet
	}
	return nil
}

// CheckRead decides a read of a resource that exists. All terms given must hold, but for If-None-Match and
// If-Modified-Since, of which one is enough. It returns nil, ConditionNotMet (412), NotModified (304), or
// UnsatisfiableCondition for If-None-Match: *, which no resource could meet.
func (c *Conditions) CheckRead(etag ETag, lastModified time.Time) error {
	if c.noneMatch.any {
		return azerr.UnsatisfiableCondition
	}
	if !c.match.holds(etag) || !c.unmodifiedSince.unmodified(lastModified) {
		return azerr.ConditionNotMet
	}
	switch none, since := !c.noneMatch.matches(etag), c.modifiedSince.modified(lastModified); {
	case c.noneMatch.given && c.modifiedSince.given && !none && !since,
		c.noneMatch.given && !c.modifiedSince.given && !none,
		!c.noneMatch.given && c.modifiedSince.given && !since:
		return azerr.NotModified
	}
	return nil
}

// ValidWrite returns MultipleConditionHeadersNotSupported for combinations that writes do not take: they take one
// header, or If-None-Match with If-Modified-Since, or If-Match with If-Unmodified-Since, and one ETag in a header.
// The two checks of writes call it; call it earlier to answer 400 before looking for the resource.
func (c *Conditions) ValidWrite() error {
	if c.match.count > 1 || c.noneMatch.count > 1 ||
		c.match.given && (c.noneMatch.given || c.modifiedSince.given) ||
		c.unmodifiedSince.given && (c.noneMatch.given || c.modifiedSince.given) {
		return azerr.MultipleConditionHeadersNotSupported
	}
	return nil
}

// CheckWrite decides a write to a resource that exists and stays, which includes deletes, leases and snapshots. In a
// legal pair the ETag decides and the date is not looked at. It returns nil, ConditionNotMet (412) or
// MultipleConditionHeadersNotSupported.
func (c *Conditions) CheckWrite(etag ETag, lastModified time.Time) error {
	if err := c.ValidWrite(); err != nil {
		return err
	}
	var ok bool
	switch {
	case c.match.given:
		ok = c.match.holds(etag)
	case c.noneMatch.given:
		ok = !c.noneMatch.matches(etag)
	default:
		ok = c.unmodifiedSince.unmodified(lastModified) && (!c.modifiedSince.given || c.modifiedSince.modified(lastModified))
	}
	if !ok {
		return azerr.ConditionNotMet
	}
	return nil
}

// CheckCreate decides an operation that makes the resource or replaces it: Put Blob, Put Block List, a copy's
// destination. Where the resource is missing only If-Match fails; etag and lastModified are then not looked at. Where
// it exists If-None-Match: * is BlobAlreadyExists, which every client's "create if not exists" waits for, and the rest
// is as for CheckWrite.
func (c *Conditions) CheckCreate(exists bool, etag ETag, lastModified time.Time) error {
	if err := c.ValidWrite(); err != nil {
		return err
	}
	switch {
	case exists && c.noneMatch.any:
		return azerr.BlobAlreadyExists
	case exists:
		return c.CheckWrite(etag, lastModified)
	case c.match.given:
		return azerr.ConditionNotMet
	}
	return nil
}

// holds reports whether an If-Match lets the request pass.
func (l *list) holds(e ETag) bool { return !l.given || l.matches(e) }

// matches reports whether the header names e.
func (l *list) matches(e ETag) bool {
	if l.any || l.first == e && e != 0 {
		return l.given
	}
	for _, m := range l.more {
		if m == e {
			return true
		}
	}
	return false
}

// unmodified reports whether an If-Unmodified-Since lets the request pass. Dates compare in whole seconds, since that
// is all the client has seen.
func (d date) unmodified(lastModified time.Time) bool {
	return !d.given || lastModified.Unix() <= d.unix
}

// modified reports whether the resource changed after the date.
func (d date) modified(lastModified time.Time) bool { return lastModified.Unix() > d.unix }

func (c *Conditions) parseDates(s *header.Set, n *names) error {
	t, given, err := header.Time(s, n.modifiedSince)
	if err != nil {
		return err
	}
	c.modifiedSince = date{given, t.Unix()}
	t, given, err = header.Time(s, n.unmodifiedSince)
	if err != nil {
		return err
	}
	c.unmodifiedSince = date{given, t.Unix()}
	return nil
}

// parseList reads * or a list of entity tags separated by commas. Quotes are optional and weak tags, W/"…", are read
// and match nothing.
func parseList(s *header.Set, id header.ID) (list, error) {
	if !s.Has(id) {
		return list{}, nil
	}
	l := list{given: true}
	v := s.Get(id)
	if string(v) == "*" {
		l.any, l.count = true, 1
		return l, nil
	}
	for rest := v; ; {
		e, matchable, after, ok := nextTag(rest)
		if !ok {
			return list{}, azerr.BadHeader(id.String(), string(v))
		}
		l.count++
		if matchable && l.first == 0 {
			l.first = e
		} else if matchable {
			l.more = append(l.more, e)
		}
		if after == nil {
			return l, nil
		}
		rest = after
	}
}

// nextTag reads one entity tag and the comma after it. after is nil at the end of the header.
func nextTag(v []byte) (e ETag, matchable bool, after []byte, ok bool) {
	v = skipSpace(v)
	weak := len(v) > 2 && v[0] == 'W' && v[1] == '/' && v[2] == '"'
	if weak {
		v = v[2:]
	}
	n := 0
	var text []byte
	if len(v) > 0 && v[0] == '"' {
		for n = 1; n < len(v) && v[n] != '"'; n++ {
		}
		if n == len(v) {
			return 0, false, nil, false
		}
		text = v[1:n]
		n++
	} else {
		for n < len(v) && v[n] != ',' && v[n] != '"' && v[n] != ' ' && v[n] != '\t' {
			n++
		}
		text = v[:n]
		if n == 0 || string(text) == "*" {
			return 0, false, nil, false
		}
	}
	v = skipSpace(v[n:])
	if len(v) > 0 {
		if v[0] != ',' {
			return 0, false, nil, false
		}
		after = v[1:]
	}
	e, matchable = parseETag(text)
	return e, matchable && !weak, after, true
}

func skipSpace(v []byte) []byte {
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	return v
}

// Match returns the conditions of a request whose If-Match has that one entity tag.
func Match(e ETag) Conditions {
	return Conditions{match: list{given: true, count: 1, first: e}}
}
