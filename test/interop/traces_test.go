package interop

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/abode-run/abode/test/harness"
)

// collected are the spans that the engine of these tests has sent.
var collected struct {
	sync.Mutex
	spans []*tracepb.Span
}

// newCollector receives OTLP over HTTP, as OpenTelemetry's protobufs define it.
func newCollector() (*httptest.Server, error) {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req collectorpb.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &req)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			http.Error(w, "no traces", http.StatusBadRequest)
			return
		}
		collected.Lock()
		defer collected.Unlock()
		for _, resource := range req.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				collected.spans = append(collected.spans, scope.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	})), nil
}

// traced are the spans of one trace, by name, once they are as many as wanted.
func traced(t *testing.T, id []byte, want ...string) map[string]*tracepb.Span {
	t.Helper()
	var missing string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		found := map[string]*tracepb.Span{}
		collected.Lock()
		for _, s := range collected.spans {
			if string(s.TraceId) == string(id) {
				found[s.Name] = s
			}
		}
		collected.Unlock()
		missing = ""
		for _, name := range want {
			if found[name] == nil {
				missing = name
			}
		}
		if missing == "" {
			return found
		}
	}
	t.Fatalf("the trace %x has no span %q", id, missing)
	return nil
}

// The trace that the CLI is called in goes on in the engine, on each wall.
func TestTraces(t *testing.T) {
	onEachWall(t, func(t *testing.T, isolation string) {
		trace, parent := make([]byte, 16), make([]byte, 8)
		rand.Read(trace)
		rand.Read(parent)
		t.Setenv("TRACEPARENT", "00-"+hex.EncodeToString(trace)+"-"+hex.EncodeToString(parent)+"-01")
		name := "traced-" + isolation
		engine.Abode(t, "run", "-d", "--isolation", isolation, "--name", name, "busybox", "sleep", "1000")
		engine.Abode(t, "exec", name, "true")
		engine.Abode(t, "rm", "-f", name)
		fails(t, []string{"127.0.0.1:1"}, "pull", "127.0.0.1:1/nothing")
		spans := traced(t, trace, "container create", "container start", "container exec", "container exit", "image pull",
			"container create image", "container create writable", "container start network", "container start kernel",
			"container start create", "container start start", "container exec start")
		for child, mother := range map[string]string{
			"container create": "", "container start": "", "container exec": "", "image pull": "", "container exit": "container start",
			"container create image": "container create", "container start kernel": "container start", "container exec start": "container exec",
		} {
			want := parent
			if mother != "" {
				want = spans[mother].SpanId
			}
			if got := spans[child].ParentSpanId; string(got) != string(want) {
				t.Errorf("%s is a child of %x, want %x", child, got, want)
			}
		}
		start := spans["container start"]
		for name, s := range spans {
			if s.EndTimeUnixNano < s.StartTimeUnixNano {
				t.Errorf("%s ends before it begins", name)
			}
			if strings.HasPrefix(name, "container start ") && (s.StartTimeUnixNano < start.StartTimeUnixNano || s.EndTimeUnixNano > start.EndTimeUnixNano) {
				t.Errorf("%s is not within the start", name)
			}
		}
		says := map[string]string{}
		for _, a := range start.Attributes {
			says[a.Key] = a.Value.GetStringValue()
		}
		if says["abode.isolation"] != isolation || says["container.name"] != name || says["container.id"] == "" || says["container.image.name"] != "busybox" {
			t.Errorf("the start says %v", says)
		}
		if code := spans["image pull"].Status.GetCode(); code != tracepb.Status_STATUS_CODE_ERROR {
			t.Errorf("a pull that fails has the status %v", code)
		}
		if code := start.Status.GetCode(); code == tracepb.Status_STATUS_CODE_ERROR {
			t.Errorf("a start that came off has the status %v", code)
		}
	})
}

// A collector that takes connections and never answers holds nobody up.
func TestTracesHeldUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	e := harness.Start(t) // it ends the daemon when the test ends
	if err := e.Prepare(); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range isolations {
		for range 3 {
			if out := e.Abode(t, "run", "--rm", "--isolation", isolation, "busybox", "echo", "through"); out != "through" {
				t.Errorf("%s: %q", isolation, out)
			}
		}
	}
}
