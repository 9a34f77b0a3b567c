package eventlog

import (
	"context"
	"encoding/binary"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// horizonKey is the state record of the horizon when a topic was deleted last: eight bytes, most significant first.
const horizonKey = "log/horizon"

// keepHorizon stores the horizon. A deleted topic may have had the largest numbers; without the record a log that is
// opened again would take a place among them for one of another life of it, and tell of a gap where there is none.
func (l *Log) keepHorizon(ctx context.Context) error {
	b := driver.Batch{State: []driver.StateOp{{Key: horizonKey, Value: binary.BigEndian.AppendUint64(nil, l.horizon.Load())}}}
	return l.drv.Append(ctx, &b)
}

// keptHorizon returns what keepHorizon stored, else zero.
func (l *Log) keptHorizon(ctx context.Context) (uint64, error) {
	value, err := l.State(ctx, horizonKey)
	if len(value) != 8 {
		return 0, err
	}
	return binary.BigEndian.Uint64(value), nil
}

// State returns the value of one state record, nil when there is none.
func (l *Log) State(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	err := l.drv.ScanState(ctx, key, key+"\x00", func(_ string, v []byte) bool {
		value = append([]byte{}, v...) // not nil, even if empty
		return false
	})
	return value, err
}

// ScanState calls fn for the state records whose key begins with prefix, in order of keys, until fn returns false. Key
// and value are valid only during the call. It sees every Append and Commit that returned before.
func (l *Log) ScanState(ctx context.Context, prefix string, fn func(key string, value []byte) bool) error {
	return l.drv.ScanState(ctx, prefix, afterPrefix(prefix), fn)
}

// ScanStateFrom is ScanState from the first key that is at or after from, which must begin with prefix.
func (l *Log) ScanStateFrom(ctx context.Context, prefix, from string, fn func(key string, value []byte) bool) error {
	return l.drv.ScanState(ctx, max(prefix, from), afterPrefix(prefix), fn)
}

// afterPrefix returns the smallest string greater than all that begin with prefix, "" when there is none.
func afterPrefix(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}

// Own takes over a name: from then on a Commit with an older Fence of that name fails with Precondition.
func (l *Log) Own(ctx context.Context, name string) (driver.Fence, error) {
	return l.drv.Own(ctx, name)
}
