package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/format"
	"github.com/abode-run/abode/internal/version"
)

// engineInfo is what `info` prints: Docker's facts, and the engine's own.
type engineInfo struct {
	system.Info
	Abode json.RawMessage `json:",omitempty"`
}

func newInfo(a *app) *cobra.Command {
	var fmtFlag string
	cmd := &cobra.Command{
		Use:   "info [OPTIONS]",
		Short: "Print what the engine found on this machine",
		Long: `Print what the engine found on this machine: kernel, cgroups, the accelerator
for VMs and why it was chosen, the guest kernel, and what is missing with the
command that gets it.`,
		Example: `  abode info
  abode info --format '{{json .Abode}}'`,
		Args: exactly(0),
	}
	cmd.Flags().StringVarP(&fmtFlag, "format", "f", "", "json, or a Go template")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
		r, err := c.Info(ctx, client.InfoOptions{})
		if err != nil {
			return err
		}
		i := engineInfo{Info: r.Info}
		abodeErr := a.fetch(ctx, "/abode/info", &i.Abode)
		if fmtFlag != "" {
			return format.Write(a.out, fmtFlag, "", nil, []engineInfo{i})
		}
		printInfo(a.out, i.Info)
		if abodeErr != nil {
			fmt.Fprintf(a.err, "WARNING: cannot learn more of the engine: %s\n", a.explain(abodeErr))
		} else {
			printFacts(a.out, i.Abode)
		}
		for _, w := range i.Warnings {
			fmt.Fprintln(a.err, w)
		}
		return nil
	})
	return cmd
}

func printInfo(out io.Writer, i system.Info) {
	line := func(name string, value any) {
		if s := fmt.Sprint(value); s != "" {
			fmt.Fprintf(out, " %s: %s\n", name, s)
		}
	}
	fmt.Fprintln(out, "Client: Abode")
	line("Version", version.Version)
	fmt.Fprintln(out, "\nServer:")
	line("Containers", i.Containers)
	line(" Running", i.ContainersRunning)
	line(" Paused", i.ContainersPaused)
	line(" Stopped", i.ContainersStopped)
	line("Images", i.Images)
	line("Server Version", i.ServerVersion)
	line("Storage Driver", i.Driver)
	for _, s := range i.DriverStatus {
		line(" "+s[0], s[1])
	}
	line("Logging Driver", i.LoggingDriver)
	line("Cgroup Driver", i.CgroupDriver)
	line("Cgroup Version", i.CgroupVersion)
	line("Security Options", strings.Join(i.SecurityOptions, " "))
	line("Kernel Version", i.KernelVersion)
	line("Operating System", i.OperatingSystem)
	line("OSType", i.OSType)
	line("Architecture", i.Architecture)
	line("CPUs", i.NCPU)
	line("Total Memory", units.BytesSize(float64(i.MemTotal)))
	line("Name", i.Name)
	line("ID", i.ID)
	line("Root Dir", i.DockerRootDir)
	line("HTTP Proxy", i.HTTPProxy)
	line("HTTPS Proxy", i.HTTPSProxy)
	line("No Proxy", i.NoProxy)
}

// printFacts prints the engine's own facts, whatever they are: an engine
// newer than this client may know more.
func printFacts(out io.Writer, raw json.RawMessage) {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	fmt.Fprintln(out, "\nAbode:")
	printValue(d, out, " ", "")
}

// printValue prints the next value of d: objects and lists with a line for
// each member, indented; in the order in which the engine sent them.
func printValue(d *json.Decoder, out io.Writer, indent, name string) {
	t, err := d.Token()
	if err != nil {
		return
	}
	delim, ok := t.(json.Delim)
	if !ok {
		if s := scalar(t); s != "" {
			fmt.Fprintf(out, "%s%s%s\n", indent, label(name), s)
		}
		return
	}
	if !d.More() {
		_, _ = d.Token()
		return
	}
	if name != "" {
		fmt.Fprintf(out, "%s%s\n", indent, strings.TrimSuffix(label(name), " "))
		indent += " "
	}
	for n := 0; d.More(); n++ {
		key := ""
		if delim == '{' {
			k, err := d.Token()
			if err != nil {
				return
			}
			key = fmt.Sprint(k)
		}
		printMember(d, out, indent, key)
	}
	_, _ = d.Token()
}

// printMember prints a member of a list after a dash: on one line if it fits.
func printMember(d *json.Decoder, out io.Writer, indent, key string) {
	if key != "" {
		printValue(d, out, indent, key)
		return
	}
	var raw json.RawMessage
	if d.Decode(&raw) != nil {
		return
	}
	inner := json.NewDecoder(strings.NewReader(string(raw)))
	inner.UseNumber()
	var b strings.Builder
	printValue(inner, &b, "", "")
	text := strings.TrimRight(b.String(), "\n")
	if line := strings.ReplaceAll(text, "\n", "; "); len(line) < 60 {
		fmt.Fprintf(out, "%s- %s\n", indent, line)
		return
	}
	fmt.Fprintf(out, "%s- %s\n", indent, strings.ReplaceAll(text, "\n", "\n"+indent+"  "))
}

func scalar(t json.Token) string {
	switch v := t.(type) {
	case nil:
		return ""
	case bool:
		if v {
			return "yes"
		}
		return "no"
	}
	return fmt.Sprint(t)
}

// label makes words of a JSON name: CgroupVersion → "Cgroup version: ".
func label(name string) string {
	if name == "" {
		return ""
	}
	r := []rune(name)
	isUpper := func(i int) bool { return i >= 0 && i < len(r) && r[i] >= 'A' && r[i] <= 'Z' }
	isLower := func(i int) bool { return i >= 0 && i < len(r) && r[i] >= 'a' && r[i] <= 'z' }
	var b strings.Builder
	for i, c := range r {
		switch {
		case i == 0:
			b.WriteString(strings.ToUpper(string(c)))
		case c == '_' || c == '-':
			b.WriteByte(' ')
		case isUpper(i) && isLower(i-1) && !isUpper(i+1):
			b.WriteString(" " + strings.ToLower(string(c)))
		case isUpper(i) && isLower(i-1):
			b.WriteString(" " + string(c))
		case isUpper(i) && isUpper(i-1) && isLower(i+1):
			b.WriteString(" " + strings.ToLower(string(c)))
		default:
			b.WriteRune(c)
		}
	}
	return b.String() + ": "
}

func newPing(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "ping", Short: "Tell whether the engine answers", Hidden: true, Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.tell(cmd.Context(), http.MethodGet, "/_ping")
		},
	}
}
