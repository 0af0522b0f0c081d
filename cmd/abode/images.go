package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/format"
)

var imageHeaders = format.Headers{
	"Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "ID": "IMAGE ID", "CreatedSince": "CREATED",
	"CreatedAt": "CREATED AT", "Size": "SIZE", "Containers": "CONTAINERS", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
}

const (
	imageTable  = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
	digestTable = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
	none        = "<none>"
)

// imageRow is an image under one of its names, as `images --format` sees it.
type imageRow struct {
	Containers, CreatedAt, CreatedSince, Digest, ID, Repository, SharedSize, Size, Tag, UniqueSize string
}

func newImages(a *app, use string, aliases ...string) *cobra.Command {
	var all, digests, noTrunc, quiet bool
	var fmtFlag string
	var filter []string
	cmd := &cobra.Command{
		Use: use + " [OPTIONS] [REPOSITORY[:TAG]]", Aliases: aliases,
		Short: "List images",
		Long: `List the images that are here, or those of a repository.

Filters: dangling=true|false, label, before, since, until, reference.`,
		Example: `  abode images nginx
  abode images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
  abode images -q --filter dangling=true`,
		Args: between(0, 1),
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "all images, not only those that have a name or are used as such")
	f.BoolVar(&digests, "digests", false, "digests too")
	f.BoolVar(&noTrunc, "no-trunc", false, "do not shorten IDs")
	f.BoolVarP(&quiet, "quiet", "q", false, "IDs alone")
	f.StringVar(&fmtFlag, "format", "", "json, or a Go template, perhaps after the word table")
	f.StringArrayVarP(&filter, "filter", "f", nil, "those that match (NAME=VALUE)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		fs, err := filters(filter)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			fs.Add("reference", args[0])
		}
		r, err := c.ImageList(ctx, client.ImageListOptions{All: all, Filters: fs})
		if err != nil {
			return err
		}
		slices.SortStableFunc(r.Items, func(x, y image.Summary) int { return int(y.Created - x.Created) })
		withDigest := digests || fmtFlag == "json" || strings.Contains(fmtFlag, ".Digest")
		var rows []imageRow
		for _, item := range r.Items {
			rows = append(rows, imageRows(item, noTrunc, withDigest)...)
		}
		table := imageTable
		if digests {
			table = digestTable
		}
		if quiet && fmtFlag == "" {
			fmtFlag = "{{.ID}}"
		}
		return format.Write(a.out, fmtFlag, table, imageHeaders, rows)
	})
	return cmd
}

// imageRows is an image once for each of its tags; with digests once for
// each tag and digest of a repository.
func imageRows(s image.Summary, noTrunc, withDigest bool) []imageRow {
	created := time.Unix(s.Created, 0)
	base := imageRow{
		ID: s.ID, Repository: none, Tag: none, Digest: none, CreatedAt: created.String(),
		Size: units.HumanSizeWithPrecision(float64(s.Size), 3), Containers: count(s.Containers),
		SharedSize: size(s.SharedSize), UniqueSize: size(s.Size - max(s.SharedSize, 0)),
	}
	if s.Created > 0 {
		base.CreatedSince = ago(created)
	} else {
		base.CreatedSince = "N/A"
	}
	if !noTrunc {
		base.ID = format.ShortID(s.ID)
	}
	if s.SharedSize < 0 {
		base.UniqueSize = "N/A"
	}
	digests := map[string][]string{} // repository → digests
	for _, d := range s.RepoDigests {
		if ref, err := reference.ParseNormalizedNamed(d); err == nil {
			if c, ok := ref.(reference.Canonical); ok {
				name := reference.FamiliarName(ref)
				digests[name] = append(digests[name], c.Digest().String())
			}
		}
	}
	var rows []imageRow
	named := map[string]bool{}
	for _, t := range s.RepoTags {
		ref, err := reference.ParseNormalizedNamed(t)
		if err != nil {
			continue // <none>:<none> of older engines
		}
		row := base
		row.Repository = reference.FamiliarName(ref)
		if tagged, ok := ref.(reference.Tagged); ok {
			row.Tag = tagged.Tag()
		}
		named[row.Repository] = true
		if !withDigest || len(digests[row.Repository]) == 0 {
			rows = append(rows, row)
			continue
		}
		for _, d := range digests[row.Repository] {
			row.Digest = d
			rows = append(rows, row)
		}
	}
	for _, name := range sortedKeys(digests) {
		if named[name] {
			continue
		}
		for _, d := range digests[name] {
			row := base
			row.Repository, row.Digest = name, d
			rows = append(rows, row)
			if !withDigest {
				break
			}
		}
	}
	if rows == nil {
		rows = append(rows, base)
	}
	return rows
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func count(n int64) string {
	if n < 0 {
		return "N/A"
	}
	return fmt.Sprint(n)
}

func size(n int64) string {
	if n < 0 {
		return "N/A"
	}
	return units.HumanSize(float64(n))
}
