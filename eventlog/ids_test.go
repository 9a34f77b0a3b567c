package eventlog

import (
	"regexp"
	"testing"
	"time"
)

func TestIDs(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for _, left := range []int{0, 1, 3, idsAtOnce, 1000} {
		m := idMaker{now: time.UnixMilli(0x0123456789ab), left: left}
		for range left + 2 { // more than were announced
			id := m.next()
			if !form.MatchString(id) || id[:13] != "01234567-89ab" || seen[id] {
				t.Fatalf("%q is no new UUIDv7 of that time", id)
			}
			seen[id] = true
		}
	}
}
