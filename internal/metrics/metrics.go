// Package metrics keeps the engine's figures for Prometheus. The engine knows
// nothing of it: it tells an observer what becomes of containers, and is asked
// for the rest when somebody scrapes. No label holds what a user can choose.
package metrics

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/abode-run/abode/internal/engine"
	"github.com/abode-run/abode/internal/kernel"
	"github.com/abode-run/abode/internal/version"
)

// scrapes is how many are answered at once; more get 503.
const scrapes = 4

// buckets reach from a step of a container's start to a cold boot under
// emulation, in seconds.
var buckets = []float64{.0005, .001, .002, .005, .01, .02, .03, .05, .075, .1, .15, .25, .5, 1, 2.5, 5, 10, 30}

// Metrics are one engine's. It is the engine's observer, and a collector of
// what the engine is asked for.
type Metrics struct {
	registry            *prometheus.Registry
	start, step         *prometheus.HistogramVec
	starts, fails, ends *prometheus.CounterVec
	figures             func() engine.Figures
}

var _ engine.Observer = (*Metrics)(nil)

// New returns metrics for the Config of an engine that is about to be opened.
func New() *Metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"isolation"})
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		start: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "abode_container_start_seconds", Buckets: buckets,
			Help: "How long starts took in the engine, from the network to the record of the running container.",
		}, []string{"isolation"}),
		step: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "abode_container_start_step_seconds", Buckets: buckets,
			Help: "How long each step of a start took.",
		}, []string{"isolation", "step"}),
		starts: counter("abode_container_starts_total", "Starts that were tried since the daemon started, also those that failed."),
		fails:  counter("abode_container_start_failures_total", "Starts that failed since the daemon started."),
		ends:   counter("abode_container_exits_total", "Containers that ended since the daemon started, and those it found ended."),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "abode_info", Help: "Always 1; tells the version.", ConstLabels: prometheus.Labels{"version": version.Version},
	})
	info.Set(1)
	m.registry.MustRegister(m.start, m.step, m.starts, m.fails, m.ends, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers scrapes of an engine that was opened with m. It is called
// once. figures is the engine's.
func (m *Metrics) Handler(figures func() engine.Figures, log *slog.Logger) http.Handler {
	m.figures = figures
	// Zeros are there from the beginning, else the first event of its kind
	// would be no increase.
	for wall := range figures().Containers {
		m.start.WithLabelValues(string(wall))
		for _, c := range []*prometheus.CounterVec{m.starts, m.fails, m.ends} {
			c.WithLabelValues(string(wall))
		}
	}
	m.registry.MustRegister(state{m})
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: scrapes, DisableCompression: true, // nothing is further away than loopback
	})
}

// Started implements engine.Observer.
func (m *Metrics) Started(wall kernel.Isolation, took time.Duration, steps []engine.Step) {
	m.starts.WithLabelValues(string(wall)).Inc()
	m.start.WithLabelValues(string(wall)).Observe(took.Seconds())
	for _, s := range steps {
		m.step.WithLabelValues(string(wall), s.Name).Observe(s.Took.Seconds())
	}
}

// StartFailed implements engine.Observer.
func (m *Metrics) StartFailed(wall kernel.Isolation) {
	m.starts.WithLabelValues(string(wall)).Inc()
	m.fails.WithLabelValues(string(wall)).Inc()
}

// Ended implements engine.Observer.
func (m *Metrics) Ended(wall kernel.Isolation) { m.ends.WithLabelValues(string(wall)).Inc() }

var (
	containers = prometheus.NewDesc("abode_containers", "Containers by isolation and state.", []string{"isolation", "state"}, nil)
	ready      = prometheus.NewDesc("abode_ready", "Places that are kept ready for the next container.", []string{"isolation"}, nil)
)

// state collects what is counted at the moment of a scrape.
type state struct{ m *Metrics }

func (state) Describe(ch chan<- *prometheus.Desc) {
	ch <- containers
	ch <- ready
}

func (s state) Collect(ch chan<- prometheus.Metric) {
	f := s.m.figures()
	for wall, states := range f.Containers {
		for name, n := range states {
			ch <- prometheus.MustNewConstMetric(containers, prometheus.GaugeValue, float64(n), string(wall), string(name))
		}
	}
	for wall, n := range f.Ready {
		ch <- prometheus.MustNewConstMetric(ready, prometheus.GaugeValue, float64(n), string(wall))
	}
}
