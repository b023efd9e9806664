package lanes

// Narrow runs f as on a processor without AVX-512, and reports whether there is a way to run it then.
func Narrow(f func()) bool {
	was := wide
	defer func() { wide = was }()
	wide = false
	if !available() {
		return false
	}
	f()
	return true
}
