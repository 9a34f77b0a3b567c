package delivery

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBodiesAreNotLogged: the dead letter and the status keep the beginning of an answer, the log only says its status.
func TestBodiesAreNotLogged(t *testing.T) {
	const private = "alice@example.org"
	for _, code := range []int{400, 410, 500} {
		inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
			var logged bytes.Buffer
			b.opts.Logger = slog.New(slog.NewTextHandler(&logged, nil))
			f.set(func(attemptSeen) *http.Response {
				resp := reply("text/plain", private)
				resp.StatusCode = code
				return resp
			})
			b.start(sub("s"))
			b.publish("a", "b", "c", "d")
			b.wait(time.Minute)
			switch st := b.status("s"); code {
			case 400:
				letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 10)
				if err != nil || len(letters) != 4 || !strings.Contains(letters[0].Detail, private) {
					t.Errorf("letters %+v, %v", letters, err)
				}
			default:
				if !strings.Contains(st.Reason, private) {
					t.Errorf("%d: status %+v", code, st)
				}
			}
			b.stop()
			if text := logged.String(); !strings.Contains(text, "subscription=s") || strings.Contains(text, private) {
				t.Errorf("%d: logged %s", code, text)
			}
			if code != 410 && !strings.Contains(logged.String(), "status") {
				t.Errorf("%d: the status is not logged: %s", code, logged.String())
			}
		})
	}
}
