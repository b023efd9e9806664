//go:build !race

package pagestore

const raceScale = 1
