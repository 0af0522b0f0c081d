// Package tracing tells OpenTelemetry what the engine does, when the daemon's
// environment names a collector. The spans are the engine's own laps, the same
// that the Server-Timing header and the metrics have: nothing is timed twice.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/abode-run/abode/internal/engine"
	"github.com/abode-run/abode/internal/version"
)

// Configured says whether OpenTelemetry's standard variables name a collector.
func Configured() bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != ""
}

// Tracer is an engine's observer that sends spans. Its methods return at once:
// what a collector that is slow or dead does not take is dropped.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	starts   sync.Map // of containers that run: the span that their end belongs to
}

// New returns a Tracer that is set up by OpenTelemetry's variables. It does not
// wait for the collector.
func New(ctx context.Context, log *slog.Logger) (*Tracer, error) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if v := os.Getenv(name); v != "" && v != "http/protobuf" {
			return nil, fmt.Errorf("cannot trace with %s=%s: only http/protobuf is spoken; its usual port is 4318", name, v)
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot trace: %w; see the OTEL_EXPORTER_OTLP_ variables", err)
	}
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "aboded"), attribute.String("service.version", version.Version)),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv()) // the last one wins
	if err != nil {
		log.Warn("traces do not tell all about where they come from", "error", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("a trace was not sent", "error", err) }))
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(res))
	return &Tracer{provider: p, tracer: p.Tracer("github.com/abode-run/abode", trace.WithInstrumentationVersion(version.Version))}, nil
}

// Close sends what has not been sent, as long as ctx lasts.
func (t *Tracer) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// Handler takes over the trace that a request belongs to (W3C traceparent).
func (t *Tracer) Handler(h http.Handler) http.Handler {
	w3c := propagation.TraceContext{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Traceparent") != "" {
			r = r.WithContext(w3c.Extract(r.Context(), propagation.HeaderCarrier(r.Header)))
		}
		h.ServeHTTP(w, r)
	})
}

// Did implements engine.Tracer.
func (t *Tracer) Did(ctx context.Context, op engine.Operation) {
	if op.Name == engine.OperationExit {
		if start, ok := t.starts.LoadAndDelete(op.Container); ok {
			ctx = trace.ContextWithSpanContext(ctx, start.(trace.SpanContext))
		}
	}
	ctx, span := t.tracer.Start(ctx, op.Name, trace.WithTimestamp(op.Began), trace.WithAttributes(attributes(op)...))
	at := op.Began
	for _, s := range op.Steps {
		_, step := t.tracer.Start(ctx, op.Name+" "+s.Name, trace.WithTimestamp(at))
		at = at.Add(s.Took)
		step.End(trace.WithTimestamp(at))
	}
	if op.Err != nil {
		span.SetStatus(codes.Error, op.Err.Error())
	}
	span.End(trace.WithTimestamp(op.Ended))
	if op.Name == engine.OperationStart && op.Err == nil {
		t.starts.Store(op.Container, span.SpanContext())
	}
}

func attributes(op engine.Operation) (list []attribute.KeyValue) {
	for _, a := range [][2]string{
		{"container.id", op.Container}, {"container.name", op.ContainerName}, {"container.image.name", op.Image}, {"abode.isolation", string(op.Isolation)},
	} {
		if a[1] != "" {
			list = append(list, attribute.String(a[0], a[1]))
		}
	}
	return list
}
