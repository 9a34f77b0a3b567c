package engines

import (
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/kafkalog"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
)

// TestSystemReadersMeet: whoever reads a topic without events from its start is where those are who read from its end, also on an engine that
// does not count from zero. Streams of one selection share a reader only then.
func TestSystemReadersMeet(t *testing.T) {
	onEngines(t, true, func(t *testing.T, url string) {
		scheme, hosts, _ := strings.Cut(url, "://")
		var drv driver.Driver
		var err error
		if scheme == "kafka" {
			drv, err = kafkalog.Open(t.Context(), kafkalog.Options{Brokers: strings.Split(hosts, ","), Prefix: kafkaPrefix(t)})
		} else {
			drv, err = natslog.Open(t.Context(), natslog.Options{URL: url, Prefix: natsPrefix()})
		}
		if err != nil {
			t.Fatal(err)
		}
		log, err := eventlog.Open(t.Context(), drv, eventlog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if _, err := log.CreateTopic(t.Context(), tandem.Topic{Name: "orders", Partitions: 4}); err != nil {
			t.Fatal(err)
		}
		sel, err := eventlog.Select("orders")
		if err != nil {
			t.Fatal(err)
		}
		reader := func(start tandem.Start) *eventlog.Reader {
			r, err := log.NewReader(t.Context(), sel, start)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(r.Close)
			return r
		}
		earliest, latest := reader(tandem.Start{Earliest: true}), reader(tandem.Start{})
		if earliest.Ahead(latest.Mark()) || earliest.Cursor() != latest.Cursor() {
			t.Errorf("without events the earliest place is %s and the latest %s", earliest.Cursor(), latest.Cursor())
		}
	})
}
