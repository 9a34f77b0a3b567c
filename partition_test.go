package tandem

import "testing"

func TestPartition(t *testing.T) {
	// Expected values of Kafka's own test of its murmur2, signed as Java prints them.
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2(key)); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
		for _, n := range []int{1, 2, 7, 8, 1024} {
			if got := Partition(key, n); got != int(want&0x7fffffff)%n {
				t.Errorf("Partition(%q, %d) = %d", key, n, got)
			}
		}
	}
	for _, n := range []int{-1, 0, 1} {
		if Partition("x", n) != 0 {
			t.Errorf("Partition of %d", n)
		}
	}
}
