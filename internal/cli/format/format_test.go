package format

import (
	"encoding/json"
	"strings"
	"testing"
)

type row struct {
	ID, Names string
	labels    map[string]string
}

func (r row) Label(name string) string { return r.labels[name] }

var (
	headers = Headers{"ID": "CONTAINER ID", "Names": "NAMES"}
	rows    = []row{{"abc", "one", map[string]string{"com.example.some-key": "v"}}, {"def", "a-long-name<&>", nil}}
)

func TestWrite(t *testing.T) {
	for format, want := range map[string]string{
		"":                          "CONTAINER ID   NAMES\nabc            one\ndef            a-long-name<&>\n",
		"table":                     "CONTAINER ID   NAMES\nabc            one\ndef            a-long-name<&>\n",
		`table {{.Names}}\t{{.ID}}`: "NAMES            CONTAINER ID\none              abc\na-long-name<&>   def\n",
		`table {{.Label "com.example.some-key"}}`: "SOME KEY\nv\n\n",
		`table {{json .ID}}`:                      "CONTAINER ID\n\"abc\"\n\"def\"\n",
		`{{.ID}}: {{upper .Names}}`:               "abc: ONE\ndef: A-LONG-NAME<&>\n",
		`{{truncate .Names 3}}`:                   "one\na-l\n",
		`{{join (split .Names "-") "+"}}`:         "one\na+long+name<&>\n",
		`{{pad .ID 1 2}}|`:                        " abc  |\n def  |\n",
		`{{.ID}}\n`:                               "abc\n\ndef\n\n",
		"json":                                    `{"ID":"abc","Names":"one"}` + "\n" + `{"ID":"def","Names":"a-long-name<&>"}` + "\n",
	} {
		var b strings.Builder
		if err := Write(&b, format, `{{.ID}}\t{{.Names}}`, headers, rows); err != nil {
			t.Errorf("%s: %v", format, err)
		} else if b.String() != want {
			t.Errorf("%s prints\n%s\nwant\n%s", format, b.String(), want)
		}
	}
	for _, format := range []string{"{{.Nope}}", "{{", "table {{.ID"} {
		if err := Write(&strings.Builder{}, format, "{{.ID}}", headers, rows); err == nil {
			t.Errorf("%s is taken", format)
		}
	}
	var b strings.Builder
	if err := Write(&b, "", "{{.ID}}", headers, []row{}); err != nil || b.String() != "CONTAINER ID\n" {
		t.Errorf("an empty table is %q, %v", b.String(), err)
	}
}

func TestInspect(t *testing.T) {
	type object struct {
		ID     string `json:"Id"`
		Count  int64
		Labels map[string]string `json:"-"`
	}
	objects := []Object{{object{"x", 12345678, nil}, json.RawMessage(`{"Id":"x","Count":12345678,"Extra":{"A":[1,2]}}`)}}
	for format, want := range map[string]string{
		"{{.ID}} {{.Count}}":      "x 12345678\n",
		"{{.Id}} {{.Count}}":      "x 12345678\n",
		"{{index .Extra.A 1}}":    "2\n",
		"{{json .Extra}}":         `{"A":[1,2]}` + "\n",
		"json":                    `[{"Id":"x","Count":12345678,"Extra":{"A":[1,2]}}]` + "\n",
		"":                        "[\n    {\n        \"Id\": \"x\",\n        \"Count\": 12345678,\n        \"Extra\": {\n            \"A\": [\n                1,\n                2\n            ]\n        }\n    }\n]\n",
		`{{if .Extra}}yes{{end}}`: "yes\n",
		"{{.Labels.nope}}":        "<no value>\n",
	} {
		var b strings.Builder
		if err := Inspect(&b, format, objects); err != nil {
			t.Errorf("%s: %v", format, err)
		} else if b.String() != want {
			t.Errorf("%s prints %q, want %q", format, b.String(), want)
		}
	}
	for _, format := range []string{"{{.Nope}}", "{{.Extra.Nope}}", "{{.Labels.a}}{{.Nope}}"} {
		err := Inspect(&strings.Builder{}, format, objects)
		if err == nil || !strings.Contains(err.Error(), `map has no entry for key "`) || strings.Contains(err.Error(), "object") {
			t.Errorf("%s, which does not exist: %v", format, err)
		}
	}
	var b strings.Builder
	if err := Inspect(&b, "", nil); err != nil || b.String() != "[]\n" {
		t.Errorf("nothing prints %q, %v", b.String(), err)
	}
}

func TestShorten(t *testing.T) {
	if s := Ellipsis("héllo wörld", 6); s != "héllo…" {
		t.Errorf("an ellipsis gives %q", s)
	}
	if s := Ellipsis("short", 5); s != "short" {
		t.Errorf("an ellipsis gives %q", s)
	}
	if s := ShortID("sha256:0123456789abcdef"); s != "0123456789ab" {
		t.Errorf("a short ID is %q", s)
	}
	if s := ShortID("abc"); s != "abc" {
		t.Errorf("a short ID is %q", s)
	}
}
