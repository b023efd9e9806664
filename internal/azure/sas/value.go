package sas

import (
	"net/netip"
	"strings"
	"time"
)

// ParseTime reads a time in one of the forms that tokens have: yyyy-MM-dd, yyyy-MM-ddTHH:mmZ, yyyy-MM-ddTHH:mm:ssZ, and
// that with up to seven digits of a fraction.
func ParseTime(s string) (time.Time, bool) {
	layout := time.DateOnly
	switch n := len(s); {
	case n == len("2006-01-02"):
	case n == len("2006-01-02T15:04Z"):
		layout = "2006-01-02T15:04Z"
	case n > len("2006-01-02T15:04:05.0000000Z") || strings.IndexByte(s, ',') >= 0:
		return time.Time{}, false
	default:
		layout = "2006-01-02T15:04:05Z" // a fraction is read too
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

// FormatTime writes a time as the service writes those of user delegation keys: in whole seconds.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// parseAddresses reads an address, or two with a hyphen between them: the ends of a range, both inclusive. Nothing is
// every address, and zero. IPv4 addresses that are written as IPv6 addresses are IPv4 addresses.
func parseAddresses(s string) (lo, hi netip.Addr, ok bool) {
	if s == "" {
		return lo, hi, true
	}
	first, last, two := strings.Cut(s, "-")
	if !two {
		last = first
	}
	lo, err := netip.ParseAddr(first)
	if err != nil || lo.Zone() != "" {
		return netip.Addr{}, netip.Addr{}, false
	}
	hi, err = netip.ParseAddr(last)
	if err != nil || hi.Zone() != "" {
		return netip.Addr{}, netip.Addr{}, false
	}
	lo, hi = lo.Unmap(), hi.Unmap()
	if lo.BitLen() != hi.BitLen() || hi.Less(lo) {
		return netip.Addr{}, netip.Addr{}, false
	}
	return lo, hi, true
}

// date reports whether s has the form of a version.
func date(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}
