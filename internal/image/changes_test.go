package image

import (
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

func TestChanges(t *testing.T) {
	var want dockerspec.DockerOCIImageConfig
	want.Cmd = []string{"/bin/sh", "-c", "echo $HOME 'a b'"}
	want.Entrypoint = []string{"/entry", "--flag"}
	want.Env = []string{"PATH=/bin:/opt/bin", "A=x y", "B=xx y"}
	want.User = "1000:1000"
	want.WorkingDir = "/srv/app"
	want.ExposedPorts = map[string]struct{}{"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}
	want.Volumes = map[string]struct{}{"/data": {}, "/with space": {}}
	want.Labels = map[string]string{"a": "1", "b c": "2"}
	want.StopSignal = "SIGRTMIN+3"
	want.Healthcheck = &dockerspec.HealthcheckConfig{Test: []string{"CMD-SHELL", "true || false"}, Interval: 5 * time.Second, Retries: 3}
	want.OnBuild = []string{"RUN make"}
	var c ImageConfig
	err := applyChanges(&c, []string{
		"CMD echo $HOME 'a b'",
		`entrypoint ["/entry", "--flag"]`,
		"ENV PATH=/bin", "ENV PATH=$PATH:/opt/bin A=\"x y\" ", "ENV B x$A",
		"USER 1000:1000",
		"WORKDIR /srv", "WORKDIR app/",
		"EXPOSE 80 53/udp 8000-8001",
		`VOLUME /data`, `VOLUME ["/with space"]`,
		`LABEL a=1 "b c"=2`,
		"STOPSIGNAL SIGRTMIN+3",
		"HEALTHCHECK --interval=5s --retries=3 CMD true || false",
		"ONBUILD RUN make",
		"  ",
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, c.Config); d != "" {
		t.Error(d)
	}
	if err := applyChanges(&c, []string{"HEALTHCHECK NONE", `ENTRYPOINT []`, `CMD ["a"]`, "EXPOSE $NOTHING"}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Config.Healthcheck.Test, []string{"NONE"}) || len(c.Config.Entrypoint) != 0 || !slices.Equal(c.Config.Cmd, []string{"a"}) {
		t.Errorf("%+v", c.Config)
	}
	for _, bad := range []string{"RUN x", "FROM x", "COPY a b", "NOPE", "ENV", "ENV =x", "EXPOSE 0", "EXPOSE 80/icmp", "EXPOSE 2-1",
		"EXPOSE 70000", "STOPSIGNAL SIGNOPE", "STOPSIGNAL 65", "USER", "WORKDIR", "VOLUME", "LABEL x", "HEALTHCHECK CMD", "HEALTHCHECK --interval=x CMD y", "VOLUME [\"\"]"} {
		if err := applyChanges(&c, []string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		} else if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzChanges(f *testing.F) {
	for _, s := range []string{`CMD ["a"]`, "ENV A=$A B=${C:-d}", "EXPOSE 80-90/udp", "HEALTHCHECK --interval=1s CMD x", "LABEL a='b' \\\n c=d", "STOPSIGNAL RTMAX-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, change string) {
		var c ImageConfig
		if err := applyChanges(&c, []string{change}); err != nil && !errdefs.IsInvalidArgument(err) {
			t.Error(err)
		}
	})
}
