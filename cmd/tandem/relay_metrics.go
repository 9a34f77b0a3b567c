package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/outbox"
)

// relayMetrics reads the outbox when it is asked. While the database is away only the counters are there.
type relayMetrics struct {
	box *outbox.Outbox
	n   *counting
}

// Describe says nothing: what is there depends on the database.
func (relayMetrics) Describe(chan<- *prometheus.Desc) {}

func (m relayMetrics) Collect(ch chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType, v float64, name, help string) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), kind, v)
	}
	send(prometheus.CounterValue, float64(m.n.sent.Load()), "tandem_relay_sent_total", "Events with a receipt since the start.")
	send(prometheus.CounterValue, float64(m.n.repeated.Load()), "tandem_relay_repeated_total", "Those of them that were stored before.")
	send(prometheus.CounterValue, float64(m.n.failed.Load()), "tandem_relay_failed_requests_total", "Requests that failed.")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stats, err := m.box.Stats(ctx)
	if err != nil {
		return
	}
	oldest := 0.0
	if !stats.Oldest.IsZero() {
		oldest = max(0, time.Since(stats.Oldest).Seconds())
	}
	send(prometheus.GaugeValue, float64(stats.Waiting), "tandem_outbox_waiting", "Rows that will be sent.")
	send(prometheus.GaugeValue, float64(stats.SetAside), "tandem_outbox_set_aside", "Rows that will not.")
	send(prometheus.GaugeValue, oldest, "tandem_outbox_oldest_seconds", "Age of the oldest waiting row.")
}

// serveRelayMetrics serves until stop is called.
func serveRelayMetrics(ctx context.Context, addr string, box *outbox.Outbox, n *counting, logger *slog.Logger) (stop func(), err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &tandem.Error{Code: tandem.CodeUnavailable, Op: "serve metrics", Err: err}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(relayMetrics{box, n})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // ends by Close
	}()
	logger.Info("metrics", "at", "http://"+l.Addr().String()+"/metrics")
	return func() { _ = srv.Close(); <-done }, nil
}
