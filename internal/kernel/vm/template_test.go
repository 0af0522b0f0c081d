package vm

import (
	"testing"
	"time"
)

func TestTemplate(t *testing.T) {
	p := provider(t)
	begin := time.Now()
	k := place(t, p, placement(t, p))
	t.Logf("with making the template: %v", time.Since(begin))
	info(t, k.Agent())
	for range 5 {
		pl := placement(t, p)
		begin = time.Now()
		k := place(t, p, pl)
		t.Logf("from the template: %v", time.Since(begin))
		info(t, k.Agent())
	}
}
