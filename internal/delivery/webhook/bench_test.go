package webhook

import (
	"net/http"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// BenchmarkRequest is what it costs to build and sign the request of one event.
func BenchmarkRequest(b *testing.B) {
	for name, text := range map[string]string{"unsigned": "", "v1": secretA, "v1a": privateC} {
		b.Run(name, func(b *testing.B) {
			target := &Target{UserAgent: "Tandem", Headers: http.Header{}}
			if text != "" {
				k, err := tandem.ParseWebhookKey(text)
				if err != nil {
					b.Fatal(err)
				}
				target.Keys = []Key{{Key: k}}
			}
			m := message()
			b.ReportAllocs()
			for b.Loop() {
				single(target, m, time.Now())
			}
		})
	}
}
