package source

import "github.com/prometheus/client_golang/prometheus"

// metrics are those of all sources; their number is bounded by the configuration.
type metrics struct {
	taken, refused, reconnects *prometheus.CounterVec
	up                         *prometheus.GaugeVec
}

func newMetrics() metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tandem_source_" + name, Help: help}, []string{"source"})
	}
	return metrics{
		taken:      counter("taken_total", "Messages that were stored as events and acknowledged, repeats included."),
		refused:    counter("refused_total", "Messages that are no valid events and were rejected to the dead-letter exchange of their queue."),
		reconnects: counter("reconnects_total", "How often taking from the queue began again after it had ended."),
		up:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tandem_source_up", Help: "1 while messages are taken from the queue."}, []string{"source"}),
	}
}

func (m *metrics) register(r prometheus.Registerer) {
	r.MustRegister(m.taken, m.refused, m.reconnects, m.up)
}

func (m *metrics) remove(name string) {
	for _, v := range []*prometheus.CounterVec{m.taken, m.refused, m.reconnects} {
		v.DeleteLabelValues(name)
	}
	m.up.DeleteLabelValues(name)
}
