package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/format"
)

// inspector looks one object of a kind up.
type inspector func(ctx context.Context, c *client.Client, name string, size bool) (format.Object, error)

// inspectors are the kinds, in the order in which a bare name is tried.
var inspectors = []struct {
	kind string
	look inspector
}{
	{"container", inspectContainer},
	{"image", inspectImage},
	{"network", inspectNetwork},
	{"volume", inspectVolume},
}

func newInspect(a *app) *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NAME|ID [NAME|ID...]",
		Short: "Print all there is to know of containers, images, networks, volumes",
		Long: `Print all there is to know of containers, images, networks and volumes, as
JSON or through a Go template. Without --type the first kind that has the
name is printed.`,
		Example: `  abode inspect web
  abode inspect --format '{{.State.Status}} {{.HostConfig.Isolation}}' web
  abode inspect --type image --format '{{json .Config.Env}}' nginx`,
		Args: atLeast(1),
	}
	cmd.Flags().StringVar(&kind, "type", "", "kind of object (container|image|network|volume)")
	return a.inspects(cmd, func() string { return kind })
}

// newInspectOf is inspect for one kind.
func newInspectOf(a *app, kind string) *cobra.Command {
	cmd := &cobra.Command{
		Use:     fmt.Sprintf("inspect [OPTIONS] %s [%[1]s...]", strings.ToUpper(kind)),
		Short:   fmt.Sprintf("Print all there is to know of %ss", kind),
		Long:    fmt.Sprintf("Print all there is to know of %ss, as JSON or through a Go template.", kind),
		Example: fmt.Sprintf("  abode %s inspect NAME\n  abode %[1]s inspect --format '{{json .}}' NAME", kind),
		Args:    atLeast(1),
	}
	return a.inspects(cmd, func() string { return kind })
}

func (a *app) inspects(cmd *cobra.Command, kind func() string) *cobra.Command {
	var fmtFlag string
	var size bool
	cmd.Flags().StringVarP(&fmtFlag, "format", "f", "", "json, or a Go template")
	cmd.Flags().BoolVarP(&size, "size", "s", false, "sizes of containers too")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		var objects []format.Object
		var failed []string
		for _, name := range args {
			o, err := lookUp(ctx, c, kind(), name, size)
			if err != nil {
				if a.unreachable(err) != nil {
					return err
				}
				failed = append(failed, a.explain(err))
				continue
			}
			objects = append(objects, o)
		}
		if objects != nil || fmtFlag == "" { // docker prints [] too
			if err := format.Inspect(a.out, fmtFlag, objects); err != nil {
				return err
			}
		}
		if failed != nil {
			return errors.New(strings.Join(failed, "\nabode: "))
		}
		return nil
	})
	return cmd
}

func lookUp(ctx context.Context, c *client.Client, kind, name string, size bool) (format.Object, error) {
	for _, i := range inspectors {
		if kind != "" && kind != i.kind {
			continue
		}
		o, err := i.look(ctx, c, name, size)
		if kind != "" || err == nil {
			return o, err
		}
		if !errdefs.IsNotFound(err) && !errdefs.IsNotImplemented(err) {
			return o, err
		}
	}
	if kind != "" {
		return format.Object{}, fmt.Errorf("%q is not a valid value for --type; use container, image, network or volume", kind)
	}
	return format.Object{}, fmt.Errorf("No such object: %s", name)
}

func inspectContainer(ctx context.Context, c *client.Client, name string, size bool) (format.Object, error) {
	r, err := c.ContainerInspect(ctx, name, client.ContainerInspectOptions{Size: size})
	return format.Object{Typed: r.Container, Raw: r.Raw}, err
}

func inspectImage(ctx context.Context, c *client.Client, name string, _ bool) (format.Object, error) {
	var raw bytes.Buffer
	r, err := c.ImageInspect(ctx, name, client.ImageInspectWithRawResponse(&raw))
	return format.Object{Typed: r.InspectResponse, Raw: json.RawMessage(raw.Bytes())}, err
}

func inspectNetwork(ctx context.Context, c *client.Client, name string, _ bool) (format.Object, error) {
	r, err := c.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
	return format.Object{Typed: r.Network, Raw: r.Raw}, err
}

func inspectVolume(ctx context.Context, c *client.Client, name string, _ bool) (format.Object, error) {
	r, err := c.VolumeInspect(ctx, name, client.VolumeInspectOptions{})
	return format.Object{Typed: r.Volume, Raw: r.Raw}, err
}
