package interop

import (
	"net/http"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// What Prometheus scrapes at --metrics-addr is what its own parser reads, and
// nothing else is served there.
func TestPrometheus(t *testing.T) {
	onEachWall(t, func(t *testing.T, isolation string) {
		count := func(families map[string]*dto.MetricFamily, name string) (n float64) {
			family, ok := families[name]
			if !ok {
				t.Fatalf("there is no %s", name)
			}
			for _, m := range family.Metric {
				for _, l := range m.Label {
					if l.GetName() == "isolation" && l.GetValue() == isolation {
						n += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
					}
				}
			}
			return n
		}
		before := scrape(t)
		engine.Abode(t, "run", "--rm", "--isolation", isolation, "busybox", "true")
		after := scrape(t)
		for _, name := range []string{"abode_container_starts_total", "abode_container_start_seconds", "abode_container_exits_total"} {
			if more := count(after, name) - count(before, name); more != 1 {
				t.Errorf("a run adds %v to %s", more, name)
			}
		}
	})
	for _, path := range []string{"/_ping", "/info", "/containers/json"} {
		r, err := http.Get("http://" + metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusNotFound {
			t.Errorf("%s is answered with %s", path, r.Status)
		}
	}
}

func scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	h := &http.Client{Timeout: 10 * time.Second}
	r, err := h.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", r.Status, err)
	}
	return families
}
