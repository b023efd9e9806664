// Package archtest keeps the shape of the house by test: which folder may import which, which dependency enters through
// which door, who reads the system clock, that every package says what it is for, and that nothing we publish depends on
// the machine it was written on. The rules are tables; a change of the house is a change of a table, in the same commit.
package archtest
