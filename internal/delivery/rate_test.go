package delivery

import (
	"testing"
	"time"
)

// An endpoint may allow any rate in its handshake: one that is hardly any must not turn into none.
func TestRateThatIsHardlyAny(t *testing.T) {
	for _, rate := range []float64{1e-15, 5e-324} {
		s := &subscription{bucket: bucket{rate: rate}}
		s.spend(1)
		if wait := time.Until(s.bucket.next); wait < 24*time.Hour {
			t.Errorf("at %v a second the next is due in %v", rate, wait)
		}
	}
}
