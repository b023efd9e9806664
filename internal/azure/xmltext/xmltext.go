// Package xmltext appends text to XML documents, escaped so that a parser reads back what was written. Text that XML
// 1.0 cannot carry at all comes out as U+FFFD; who must keep such text asks Legal first and encodes it otherwise.
package xmltext

import "unicode/utf8"

// Append appends s as character data. A carriage return becomes a reference, since parsers turn a bare one into a
// line feed.
func Append(dst []byte, s string) []byte { return appendEscaped(dst, s, false) }

// AppendAttr appends s as the value of an attribute in double quotes, without the quotes.
func AppendAttr(dst []byte, s string) []byte { return appendEscaped(dst, s, true) }

// AppendElement appends <name>value</name>, or <name /> when the value is empty. The name is not checked.
func AppendElement(dst []byte, name, value string) []byte {
	dst = append(dst, '<')
	dst = append(dst, name...)
	if value == "" {
		return append(dst, " />"...)
	}
	dst = append(dst, '>')
	dst = Append(dst, value)
	dst = append(dst, '<', '/')
	dst = append(dst, name...)
	return append(dst, '>')
}

// Legal reports whether XML 1.0 can carry s: UTF-8, and no character outside its Char production.
func Legal(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < 0x20 && c != '\t' && c != '\n' && c != '\r' {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r == 0xFFFE || r == 0xFFFF {
			return false
		}
		i += n
	}
	return true
}

// escape returns what stands for the ASCII byte c, or "" when it stands for itself.
func escape(c byte, attr bool) string {
	switch c {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '\r':
		return "&#xD;"
	case '"':
		if attr {
			return "&quot;"
		}
	case '\t':
		if attr {
			return "&#x9;"
		}
	case '\n':
		if attr {
			return "&#xA;"
		}
	default:
		if c < 0x20 {
			return "\uFFFD"
		}
	}
	return ""
}

func appendEscaped(dst []byte, s string, attr bool) []byte {
	last := 0
	for i := 0; i < len(s); {
		n, esc := 1, ""
		if c := s[i]; c < utf8.RuneSelf {
			esc = escape(c, attr)
		} else {
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 || r == 0xFFFE || r == 0xFFFF {
				esc = "\uFFFD"
			}
		}
		if esc != "" {
			dst = append(dst, s[last:i]...)
			dst = append(dst, esc...)
			last = i + n
		}
		i += n
	}
	return append(dst, s[last:]...)
}
