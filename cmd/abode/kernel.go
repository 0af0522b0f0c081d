package main

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/format"
	"github.com/abode-run/abode/internal/cli/progress"
)

func newKernel(a *app) *cobra.Command {
	c := group("kernel", "Manage the kernels that VMs boot", newKernelLs(a), newKernelInstall(a), newKernelImport(a), newKernelRm(a), newKernelUse(a))
	c.Long = `Manage the kernels that containers with --isolation vm boot: the host's own,
or one that was downloaded or imported.`
	return c
}

// guestKernel is a kernel of GET /abode/kernels.
type guestKernel struct {
	Name, Release, Source string
	Added                 time.Time
	Size                  int64
	Default               bool
}

var kernelHeaders = format.Headers{
	"Name": "NAME", "Release": "RELEASE", "Source": "SOURCE", "Added": "ADDED", "AddedSince": "ADDED", "Size": "SIZE", "Default": "DEFAULT",
}

// kernelRow is a kernel as `kernel ls --format` sees it.
type kernelRow struct{ Added, AddedSince, Default, Name, Release, Size, Source string }

func newKernelLs(a *app) *cobra.Command {
	var quiet bool
	var fmtFlag string
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List kernels",
		Long:    `List the kernels that VMs can boot. The default one has a star.`,
		Example: `  abode kernel ls`,
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []guestKernel
			if err := a.fetch(cmd.Context(), "/abode/kernels", &list); err != nil {
				return err
			}
			var rows []kernelRow
			for _, k := range list {
				row := kernelRow{Name: k.Name, Release: k.Release, Source: k.Source, Size: units.HumanSize(float64(k.Size))}
				if !k.Added.IsZero() {
					row.Added, row.AddedSince = k.Added.Format(time.RFC3339), ago(k.Added)
				}
				if k.Size == 0 {
					row.Size = "-"
				}
				if k.Default {
					row.Default = "*"
				}
				rows = append(rows, row)
			}
			if quiet && fmtFlag == "" {
				fmtFlag = "{{.Name}}"
			}
			return format.Write(a.out, fmtFlag, "{{.Default}}\t{{.Name}}\t{{.Release}}\t{{.Size}}\t{{.AddedSince}}\t{{.Source}}", kernelHeaders, rows)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "names alone")
	cmd.Flags().StringVar(&fmtFlag, "format", "", "json, or a Go template, perhaps after the word table")
	return cmd
}

func newKernelInstall(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "install [VERSION]", Short: "Download a kernel of the distribution",
		Long: `Download a kernel package of the distribution and unpack it for VMs. Nothing
is installed on the host.`,
		Example: `  abode kernel install`,
		Args:    between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{}
			if len(args) == 1 {
				query.Set("version", args[0])
			}
			return a.kernelProgress(cmd.Context(), "/abode/kernels/install", query, nil)
		},
	}
}

func newKernelImport(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "import FILE.deb|DIRECTORY|-", Short: "Add a kernel from a package or a directory",
		Long: `Add a kernel from a Debian or Ubuntu linux-image package, or from a directory
with a vmlinuz and modules. '-' reads a package or a tar of one from stdin.`,
		Example: `  abode kernel import linux-image-6.1.0-18-cloud-amd64_6.1.76-1_amd64.deb
  abode kernel import --name mine ./build`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{}
			if name != "" {
				query.Set("name", name)
			}
			if args[0] != "-" {
				query.Set("source", filepath.Base(args[0]))
			}
			body, err := a.kernelSource(args[0])
			if err != nil {
				return err
			}
			defer body.Close()
			return a.kernelProgress(cmd.Context(), "/abode/kernels/import", query, body)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the kernel (default its release)")
	return cmd
}

// kernelSource opens a package, or makes a tar of a directory as it is read.
func (a *app) kernelSource(name string) (io.ReadCloser, error) {
	if name == "-" {
		return a.in, nil
	}
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return os.Open(name)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(tarFiles(w, name)) }()
	return r, nil
}

// tarFiles writes the regular files below dir. Links are left out: a module
// tree's lead to sources that no guest needs.
func tarFiles(w io.Writer, dir string) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: rel, Mode: 0o644, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyN(t, f, info.Size())
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", dir, err)
	}
	return t.Close()
}

func newKernelRm(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME [NAME...]", Aliases: []string{"remove"}, Short: "Remove kernels",
		Long:    `Remove kernels that were downloaded or imported.`,
		Example: `  abode kernel rm 6.1.0-18-cloud-amd64`,
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(args, func(name string) error {
				return a.tell(cmd.Context(), http.MethodDelete, "/abode/kernels/"+name)
			})
		},
	}
}

func newKernelUse(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Make a kernel the one that VMs boot",
		Long:    `Make a kernel the one that VMs boot from now on; those that run keep theirs.`,
		Example: `  abode kernel use host`,
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(args, func(name string) error {
				return a.tell(cmd.Context(), http.MethodPost, "/abode/kernels/"+name+"/use")
			})
		},
	}
}

// tell calls an endpoint that answers with nothing of interest.
func (a *app) tell(ctx context.Context, method, path string) error {
	resp, err := a.call(ctx, method, path, nil, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (a *app) kernelProgress(ctx context.Context, path string, query url.Values, body io.Reader) error {
	resp, err := a.call(ctx, http.MethodPost, path, query, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return progress.Show(progress.Messages(resp.Body), a.out, nil)
}
