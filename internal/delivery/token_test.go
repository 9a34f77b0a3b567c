package delivery

import (
	"context"
	"encoding/base64"
	"math"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func TestToken(t *testing.T) {
	for _, tok := range []token{
		{},
		{subscription: 1, nonce: 2, where: where{3, 4, 5}, epoch: 6, attempt: 7},
		{subscription: math.MaxUint64, nonce: math.MaxUint64, where: where{math.MaxUint64, tandem.MaxPartitions - 1, math.MaxUint64},
			epoch: math.MaxUint64, attempt: math.MaxInt32, redrive: true},
	} {
		text := tok.String()
		if got, ok := parseToken(text); !ok || got != tok || len(text) > maxToken {
			t.Errorf("%s: %+v, %v, want %+v", text, got, ok, tok)
		}
		for i := range text {
			if got, ok := parseToken(text[:i]); ok && got == tok {
				t.Errorf("%s is taken without its end", text[:i])
			}
		}
	}
	for _, bad := range []token{{where: where{part: tandem.MaxPartitions}}, {where: where{part: -1}}, {attempt: -1}} {
		if _, ok := parseToken(bad.String()); ok {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// FuzzToken gives hostile tokens to a subscription with leases: each is invalid or lost, and nothing of it is delivered.
func FuzzToken(f *testing.F) {
	log := openLog(f)
	m := New(log, quietOptions(""))
	ctx := context.Background()
	if err := m.Start(ctx); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { m.Stop(ctx) })
	if err := m.Apply(ctx, []tandem.Subscription{pulledSub("s"), pulledSub("other")}); err != nil {
		f.Fatal(err)
	}
	if _, err := log.Append(ctx, "orders", []tandem.Event{event("a"), event("b"), event("a")}); err != nil {
		f.Fatal(err)
	}
	type place struct {
		where
		nonce uint64
	}
	leased := map[place]bool{}
	for _, name := range []string{"s", "other"} {
		// Both keys: an event that nobody holds may be acknowledged by any token that names its place.
		var leases []tandem.Lease
		for len(leases) < 2 {
			more, err := m.Pull(ctx, name, tandem.PullRequest{Max: 2, Wait: tandem.Duration(10 * time.Second), Visibility: tandem.Duration(tandem.MaxVisibility)})
			if err != nil || len(more) == 0 {
				f.Fatal(leases, err)
			}
			leases = append(leases, more...)
		}
		for _, l := range leases {
			f.Add(l.Token)
			b, err := base64.RawURLEncoding.DecodeString(l.Token)
			if err != nil {
				f.Fatal(err)
			}
			for i := range b {
				b[i] ^= 1
				f.Add(base64.RawURLEncoding.EncodeToString(b))
				b[i] ^= 1
			}
			if tok, ok := parseToken(l.Token); !ok {
				f.Fatal(l.Token)
			} else if name == "s" {
				leased[place{tok.where, tok.nonce}] = true
			}
		}
	}
	f.Add("")
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, text string) {
		if tok, ok := parseToken(text); ok {
			if leased[place{tok.where, tok.nonce}] {
				return // one of the leases, maybe in other bytes
			}
			if again, ok := parseToken(tok.String()); !ok || again != tok {
				t.Errorf("%q: %+v, again %+v", text, tok, again)
			}
		}
		out, err := m.Ack(ctx, "s", []string{text})
		if err != nil || out[0].Outcome != tandem.LeaseInvalid && out[0].Outcome != tandem.LeaseLost {
			t.Errorf("%q: %+v, %v", text, out, err)
		}
		if st, err := m.Status(ctx, "s"); err != nil || st.Delivered != 0 || st.InFlight == 0 {
			t.Errorf("%q: %+v, %v", text, st, err)
		}
	})
}
