package engine

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

// maxTag bounds a tag, in bytes.
const maxTag = 4 << 10

// checkDetails validates the options that say what of a container is told with
// its output.
func checkDetails(opts map[string]string) error {
	for _, key := range []string{"labels-regex", "env-regex"} {
		if _, err := regexp.Compile(opts[key]); err != nil {
			return invalid("invalid value for %s: %v", key, err)
		}
	}
	if err := checkTag(opts["tag"]); err != nil {
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
	if tag := rec.tag(); tag != "" {
		details["tag"] = tag
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(details)) {
		list = append(list, url.QueryEscape(k)+"="+url.QueryEscape(details[k]))
	}
	return strings.Join(list, ","), nil
}

// tagFields are what a tag may name, as Docker's.
var tagFields = map[string]func(*record) string{
	"ID":          func(rec *record) string { return shortID(rec.ID) },
	"FullID":      func(rec *record) string { return rec.ID },
	"Name":        func(rec *record) string { return rec.Name },
	"ImageID":     func(rec *record) string { return shortID(rec.Image.Encoded()) },
	"ImageFullID": func(rec *record) string { return rec.Image.String() },
	"ImageName":   func(rec *record) string { return rec.Config.Image },
	"Command":     func(rec *record) string { return strings.Join(rec.command(), " ") },
	"DaemonName":  func(*record) string { return "docker" },
	"Hostname": func(*record) string {
		name, _ := os.Hostname()
		return name
	},
}

var tagField = regexp.MustCompile(`\{\{ *\.([A-Za-z]+) *\}\}`)

// checkTag refuses what is more than fields: who writes a template for the
// daemon to run could keep it busy.
func checkTag(tag string) error {
	for _, m := range tagField.FindAllStringSubmatch(tag, -1) {
		if tagFields[m[1]] == nil {
			return fmt.Errorf("there is no .%s; there are .%s", m[1], strings.Join(slices.Sorted(maps.Keys(tagFields)), ", ."))
		}
	}
	if strings.Contains(tagField.ReplaceAllString(tag, ""), "{{") {
		return errors.New("only fields such as {{.Name}} are supported")
	}
	return nil
}

// tag is the container's for its log.
func (rec *record) tag() string {
	tag := tagField.ReplaceAllStringFunc(rec.Host.LogConfig.Config["tag"], func(field string) string {
		return tagFields[tagField.FindStringSubmatch(field)[1]](rec)
	})
	return tag[:min(len(tag), maxTag)]
}
