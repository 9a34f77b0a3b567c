package main

import (
	"io"
	"strings"
	"testing"
)

// TestBarFailsAtNothing: files grow while they are read, and a pipe has no size.
func TestBarFailsAtNothing(t *testing.T) {
	for _, size := range []int64{-1, 0, 3, 1000} {
		b := newBar(io.Discard, "orders", size)
		n, err := io.Copy(io.Discard, io.TeeReader(io.MultiReader(strings.NewReader("12345"), strings.NewReader("67890")), b))
		if n != 10 || err != nil {
			t.Errorf("size %d: %d bytes, %v", size, n, err)
		}
		b.Close()
	}
}
