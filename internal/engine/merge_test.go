package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
)

// What is said of the health check, by the image and by the user.
func TestMergeHealth(t *testing.T) {
	of := &container.HealthConfig{Test: []string{"CMD", "image"}, Interval: time.Second, Retries: 3}
	for _, c := range []struct {
		name              string
		image, user, want *container.HealthConfig
		checks            bool
	}{
		{"nothing", nil, nil, nil, false},
		{"image's", of, nil, of, true},
		{"user's", nil, of, of, true},
		{"user's times", of, &container.HealthConfig{Retries: 9}, &container.HealthConfig{Test: of.Test, Interval: time.Second, Retries: 9}, true},
		{"times alone", nil, &container.HealthConfig{Retries: 9}, &container.HealthConfig{Retries: 9}, false},
		{"off", of, &container.HealthConfig{Test: []string{"NONE"}}, &container.HealthConfig{Test: []string{"NONE"}, Interval: time.Second, Retries: 3}, false},
	} {
		img := &dockerspec.DockerOCIImage{}
		img.Config.Healthcheck = c.image
		got, err := mergeConfig(&container.Config{Cmd: []string{"x"}, Healthcheck: c.user}, img)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got.Healthcheck); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if _, checks, _ := healthCheckOf(got); checks != c.checks {
			t.Errorf("%s: checked: %t", c.name, !c.checks)
		}
	}
}
