package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"
)

// maxTag bounds what a template makes.
const maxTag = 4 << 10

// checkDetails validates the options that say what of a container is told with
// its output.
func checkDetails(opts map[string]string) error {
	for _, key := range []string{"labels-regex", "env-regex"} {
		if _, err := regexp.Compile(opts[key]); err != nil {
			return invalid("invalid value for %s: %v", key, err)
		}
	}
	if _, err := tagTemplate(opts["tag"]); err != nil {
		return invalid("invalid value for tag: %v", err)
	}
	return nil
}

// logDetails are what its log options tell of a container with each line, as
// `docker logs --details` writes them.
func (rec *record) logDetails() (string, error) {
	details := map[string]string{}
	opts := rec.Host.LogConfig.Config
	choose := func(from map[string]string, keys, pattern string) error {
		if keys != "" {
			for k := range strings.SplitSeq(keys, ",") {
				if v, ok := from[k]; ok {
					details[k] = v
				}
			}
		}
		if pattern == "" {
			return nil
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return err
		}
		for k, v := range from {
			if re.MatchString(k) {
				details[k] = v
			}
		}
		return nil
	}
	env := map[string]string{}
	for _, e := range rec.Config.Env {
		if k, v, ok := strings.Cut(e, "="); ok {
			env[k] = v
		}
	}
	if err := errors.Join(choose(rec.Config.Labels, opts["labels"], opts["labels-regex"]), choose(env, opts["env"], opts["env-regex"])); err != nil {
		return "", err
	}
	tag, err := tagTemplate(opts["tag"])
	if err != nil {
		return "", err
	}
	var b bounded
	if err := tag.Execute(&b, newLogInfo(rec)); err != nil {
		return "", err
	}
	if b.Len() > 0 {
		details["tag"] = b.String()
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(details)) {
		list = append(list, url.QueryEscape(k)+"="+url.QueryEscape(details[k]))
	}
	return strings.Join(list, ","), nil
}

func tagTemplate(text string) (*template.Template, error) {
	return template.New("log-tag").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"split": strings.Split,
		"join":  strings.Join,
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"truncate": func(s string, n int) string {
			return s[:max(0, min(n, len(s)))]
		},
	}).Parse(text)
}

// logInfo is what a tag's template may name: the fields and methods of Docker's.
type logInfo struct {
	Config                               map[string]string
	ContainerID, ContainerName           string
	ContainerEntrypoint                  string
	ContainerArgs                        []string
	ContainerImageID, ContainerImageName string
	ContainerCreated                     time.Time
	ContainerEnv                         []string
	ContainerLabels                      map[string]string
	DaemonName                           string
	command                              []string
}

func newLogInfo(rec *record) *logInfo {
	i := &logInfo{
		Config: rec.Host.LogConfig.Config, ContainerID: rec.ID, ContainerName: "/" + rec.Name, ContainerImageID: rec.Image.String(),
		ContainerImageName: rec.Config.Image, ContainerCreated: rec.Created, ContainerEnv: rec.Config.Env, ContainerLabels: rec.Config.Labels,
		DaemonName: "docker", command: rec.command(),
	}
	if len(i.command) > 0 {
		i.ContainerEntrypoint, i.ContainerArgs = i.command[0], i.command[1:]
	}
	return i
}

// ID is the beginning of FullID.
func (i *logInfo) ID() string { return shortID(i.ContainerID) }

// FullID is the container's.
func (i *logInfo) FullID() string { return i.ContainerID }

// Name is the container's.
func (i *logInfo) Name() string { return strings.TrimPrefix(i.ContainerName, "/") }

// ImageID is the beginning of ImageFullID.
func (i *logInfo) ImageID() string { return shortID(strings.TrimPrefix(i.ContainerImageID, "sha256:")) }

// ImageFullID is the image's, with its algorithm.
func (i *logInfo) ImageFullID() string { return i.ContainerImageID }

// ImageName is what the user has called the image.
func (i *logInfo) ImageName() string { return i.ContainerImageName }

// Command is the container's, its words divided by spaces.
func (i *logInfo) Command() string { return strings.Join(i.command, " ") }

// Hostname is the engine's.
func (i *logInfo) Hostname() (string, error) { return os.Hostname() }

// bounded is a buffer for no more than a tag.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxTag {
		return 0, errors.New("the tag is too long")
	}
	return b.Buffer.Write(p)
}
