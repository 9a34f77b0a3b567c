package tandem

// Partition returns the partition of a key among n, as Kafka's default partitioner chooses it: murmur2 of the key's
// bytes, made positive, modulo n. All engines use it. With n below 2 it is 0.
func Partition(key string, n int) int {
	if n < 2 {
		return 0
	}
	return int(murmur2(key)&0x7fffffff) % n
}

// murmur2 is MurmurHash2 in 32 bits with Kafka's seed.
func murmur2(s string) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
	)
	h := seed ^ uint32(len(s))
	for len(s) >= 4 {
		k := uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
		k *= m
		k ^= k >> 24
		k *= m
		h = h*m ^ k
		s = s[4:]
	}
	if len(s) == 3 {
		h ^= uint32(s[2]) << 16
	}
	if len(s) >= 2 {
		h ^= uint32(s[1]) << 8
	}
	if len(s) >= 1 {
		h = (h ^ uint32(s[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
