package main

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/format"
	"github.com/abode-run/abode/internal/version"
)

// versions is what `version` prints.
type versions struct {
	Client clientVersion
	Server *serverVersion `json:",omitempty"`
}

type clientVersion struct {
	Version, APIVersion, GoVersion, Os, Arch string
}

type serverVersion struct {
	Platform                                 client.PlatformInfo
	Version, APIVersion, MinAPIVersion       string
	GoVersion, Os, Arch, KernelVersion, Name string `json:",omitempty"`
	Components                               []system.ComponentVersion
}

func newVersion(a *app) *cobra.Command {
	var fmtFlag string
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Print the versions of the client and the engine",
		Long:  `Print the versions of the client and the engine.`,
		Example: `  abode version
  abode version --format '{{.Server.Version}}'`,
		Args: exactly(0),
	}
	cmd.Flags().StringVarP(&fmtFlag, "format", "f", "", "json, or a Go template")
	cmd.Flags().BoolVar(&clientOnly, "client", false, "the client's alone, without asking the engine")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := versions{Client: clientVersion{
			Version: version.Version, APIVersion: client.MaxAPIVersion, GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH,
		}}
		var failure error
		if !clientOnly {
			v.Server, v.Client.APIVersion, failure = a.serverVersion(cmd.Context())
			if failure != nil {
				v.Client.APIVersion = client.MaxAPIVersion
			}
		}
		var err error
		switch fmtFlag {
		case "":
			err = printVersions(a.out, v)
		default:
			err = format.Write(a.out, fmtFlag, "", nil, []versions{v})
		}
		if err != nil {
			return err
		}
		return failure
	}
	return cmd
}

func (a *app) serverVersion(ctx context.Context) (*serverVersion, string, error) {
	c, err := a.client()
	if err != nil {
		return nil, "", err
	}
	r, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return nil, "", err
	}
	s := &serverVersion{
		Platform: r.Platform, Version: r.Version, APIVersion: r.APIVersion, MinAPIVersion: r.MinAPIVersion, Os: r.Os, Arch: r.Arch, Components: r.Components,
	}
	for _, p := range r.Components {
		if p.Name == "Engine" {
			s.GoVersion, s.KernelVersion = p.Details["GoVersion"], p.Details["KernelVersion"]
		}
	}
	return s, c.ClientVersion(), nil
}

func printVersions(out io.Writer, v versions) error {
	line := func(indent, name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%s%-*s%s\n", indent, 19-len(indent), name+":", value)
		}
	}
	fmt.Fprintln(out, "Client: Abode")
	line(" ", "Version", v.Client.Version)
	line(" ", "API version", v.Client.APIVersion)
	line(" ", "Go version", v.Client.GoVersion)
	line(" ", "OS/Arch", v.Client.Os+"/"+v.Client.Arch)
	if v.Server == nil {
		return nil
	}
	s := v.Server
	fmt.Fprintln(out)
	if s.Platform.Name != "" {
		fmt.Fprintln(out, "Server:", s.Platform.Name)
	} else {
		fmt.Fprintln(out, "Server:")
	}
	for _, p := range s.Components {
		fmt.Fprintf(out, " %s:\n", p.Name)
		line("  ", "Version", p.Version)
		if p.Name != "Engine" {
			continue
		}
		line("  ", "API version", s.APIVersion+" (minimum version "+s.MinAPIVersion+")")
		line("  ", "Go version", s.GoVersion)
		line("  ", "OS/Arch", s.Os+"/"+s.Arch)
		line("  ", "Kernel", s.KernelVersion)
	}
	return nil
}
