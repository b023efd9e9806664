package lanes

// Narrow runs f as on a processor without AVX-512, if there is a way to run it then.
func Narrow(f func()) {
	was := wide
	defer func() { wide = was }()
	wide = false
	if available() {
		f()
	}
}
