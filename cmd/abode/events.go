package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/format"
)

func newEvents(a *app) *cobra.Command {
	var o client.EventsListOptions
	var fmtFlag string
	var filter []string
	cmd := &cobra.Command{
		Use:   "events [OPTIONS]",
		Short: "Print what happens in the engine, as it happens",
		Long: `Print what happens in the engine, as it happens, until interrupted or until
--until. Filters: container, event, image, label, network, type, volume.`,
		Example: `  abode events --filter type=container --filter event=die
  abode events --since 10m --until 0s --format json`,
		Args: exactly(0),
	}
	cmd.Flags().StringVar(&o.Since, "since", "", "what came after a time (2026-01-02T13:23:37Z or 42m) first")
	cmd.Flags().StringVar(&o.Until, "until", "", "end at a time")
	cmd.Flags().StringVar(&fmtFlag, "format", "", "json, or a Go template")
	cmd.Flags().StringArrayVarP(&filter, "filter", "f", nil, "those that match (NAME=VALUE)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) (err error) {
		if o.Filters, err = filters(filter); err != nil {
			return err
		}
		if fmtFlag == "json" {
			fmtFlag = "{{json .}}"
		}
		var t *template.Template
		if fmtFlag != "" {
			if t, err = format.Parse(fmtFlag); err != nil {
				return err
			}
		}
		r := c.Events(ctx, o)
		for {
			select {
			case m := <-r.Messages:
				if err := a.event(t, m); err != nil {
					return err
				}
			case err := <-r.Err:
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
		}
	})
	return cmd
}

func (a *app) event(t *template.Template, m events.Message) error {
	if t == nil {
		_, err := fmt.Fprintln(a.out, eventLine(m))
		return err
	}
	var b strings.Builder
	if err := t.Execute(&b, m); err != nil {
		return fmt.Errorf("cannot use the template of --format: %w; --format json shows the fields there are", err)
	}
	_, err := fmt.Fprintln(a.out, b.String())
	return err
}

// eventLine is an event in Docker's form: TIME TYPE ACTION ID (attributes).
func eventLine(m events.Message) string {
	at := time.Unix(0, m.TimeNano)
	if m.TimeNano == 0 {
		at = time.Unix(m.Time, 0)
	}
	line := fmt.Sprintf("%s %s %s %s", at.Format("2006-01-02T15:04:05.000000000Z07:00"), m.Type, m.Action, m.Actor.ID)
	var attributes []string
	for _, k := range sortedKeys(m.Actor.Attributes) {
		attributes = append(attributes, k+"="+m.Actor.Attributes[k])
	}
	if attributes == nil {
		return line
	}
	return line + " (" + strings.Join(attributes, ", ") + ")"
}
