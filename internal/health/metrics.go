package health

import "github.com/prometheus/client_golang/prometheus"

var (
	healthyDesc = prometheus.NewDesc("tandem_service_healthy", "Whether a base URL of a service takes requests: 1 or 0.", []string{"service", "url"}, nil)
	checksDesc  = prometheus.NewDesc("tandem_service_checks_total", "Health checks of a base URL by result.", []string{"service", "url", "result"}, nil)
)

// collector shows what Services know.
type collector struct{ s *Services }

func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- healthyDesc
	out <- checksDesc
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.s.mu.RLock()
	defer c.s.mu.RUnlock()
	for _, svc := range c.s.byName {
		for _, b := range svc.bases {
			healthy := 0.0
			if b.healthy {
				healthy = 1
			}
			out <- prometheus.MustNewConstMetric(healthyDesc, prometheus.GaugeValue, healthy, svc.name, b.text)
			for i, result := range [...]string{"failed", "passed"} {
				out <- prometheus.MustNewConstMetric(checksDesc, prometheus.CounterValue, float64(b.checks[i]), svc.name, b.text, result)
			}
		}
	}
}
