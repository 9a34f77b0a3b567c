package delivery

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// token is what a client holds of a lease. It says where the event is, so that an acknowledgement can be taken even after the lease
// is gone from memory, and whose lease it is. It is no secret: who may pull a subscription may acknowledge all of it.
type token struct {
	subscription uint64 // tag of the subscription, so that a token of another one is told
	nonce        uint64 // tells the lease from others of the same event
	where
	epoch   uint64
	attempt int
	redrive bool
}

const (
	tokenVersion = 1
	// maxToken is the longest token in bytes of text: a byte for the version, one for redrive, two of 8 and five of at most 10.
	maxToken = (2+2*8+5*binary.MaxVarintLen64)*4/3 + 1
)

// tagOf tells subscriptions apart, also one from another of the same name that was deleted before.
func tagOf(name string, born int64) uint64 {
	sum := tandem.Fingerprint("lease", name, strconv.FormatInt(born, 10))
	return binary.BigEndian.Uint64(sum[:8])
}

func (t *token) String() string {
	var buf [2 + 2*8 + 5*binary.MaxVarintLen64]byte
	b := append(buf[:0], tokenVersion, 0)
	if t.redrive {
		b[1] = 1
	}
	b = binary.BigEndian.AppendUint64(b, t.subscription)
	b = binary.BigEndian.AppendUint64(b, t.nonce)
	b = binary.AppendUvarint(b, uint64(t.topic))
	b = binary.AppendUvarint(b, uint64(t.part))
	b = binary.AppendUvarint(b, t.offset)
	b = binary.AppendUvarint(b, t.epoch)
	b = binary.AppendUvarint(b, uint64(t.attempt))
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseToken reads what a client sent, and reports whether it is a token.
func parseToken(text string) (t token, ok bool) {
	var buf [maxToken]byte
	if len(text) > maxToken {
		return token{}, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(buf[:], []byte(text))
	if b := buf[:n]; err != nil || n < 18 || b[0] != tokenVersion || b[1] > 1 {
		return token{}, false
	}
	t.redrive = buf[1] == 1
	t.subscription, t.nonce = binary.BigEndian.Uint64(buf[2:]), binary.BigEndian.Uint64(buf[10:])
	u := uvarints{b: buf[18:n]}
	t.topic = driver.ID(u.next())
	part := u.next()
	t.offset, t.epoch = u.next(), u.next()
	attempt := u.next()
	if u.bad || len(u.b) > 0 || part >= tandem.MaxPartitions || attempt > math.MaxInt32 {
		return token{}, false
	}
	t.part, t.attempt = int(part), int(attempt)
	return t, true
}
