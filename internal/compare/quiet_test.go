package compare

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Who waits looks often at first and seldom later, and gives up when nothing changes.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, looks, soon := time.Now(), 0, 0
		err := Await(t.Context(), func(context.Context) (int, string, error) {
			if looks++; time.Since(began) < 300*time.Millisecond {
				soon++
			}
			return 1, "", nil
		})
		if took := time.Since(began); err != nil || took < patience || took > patience+time.Second || soon < 5 || looks > 60 {
			t.Errorf("%v; it looked %d times in %s, %d of them at once", err, looks, took, soon)
		}
	})
}
