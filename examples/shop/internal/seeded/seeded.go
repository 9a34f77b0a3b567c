// Package seeded makes decisions that look random and are the same in every run with the same seed.
package seeded

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
)

// OneIn reports whether a text is among the one in n that a seed picks for a purpose. It never is for n = 0.
func OneIn(n int, seed uint64, purpose, text string) bool {
	if n <= 0 {
		return false
	}
	sum := sha256.Sum256([]byte(strconv.FormatUint(seed, 10) + "\x00" + purpose + "\x00" + text))
	return binary.BigEndian.Uint64(sum[:8])%uint64(n) == 0
}
