package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// The engine's facts are printed in its order, whatever they are.
func TestPrintFacts(t *testing.T) {
	raw := json.RawMessage(`{"Kernel":"6.1.0","CgroupVersion":2,"HostKVM":false,"Nothing":"","Null":null,
		"Accelerator":{"Name":"tcg","Reason":"/dev/kvm is too slow"},"GuestKernel":{"Name":"host","Release":"6.1.0","Tags":["a","b"]},
		"Missing":[{"What":"qemu","Command":"apt install qemu-system-x86"},{"What":"kernel","Command":"abode kernel install"}],"Empty":[],"Warnings":["no CAP_SYS_RESOURCE"]}`)
	var b strings.Builder
	printFacts(&b, raw)
	want := `
Abode:
 Kernel: 6.1.0
 Cgroup version: 2
 Host KVM: no
 Accelerator:
  Name: tcg
  Reason: /dev/kvm is too slow
 Guest kernel:
  Name: host
  Release: 6.1.0
  Tags:
   - a
   - b
 Missing:
  - What: qemu; Command: apt install qemu-system-x86
  - What: kernel; Command: abode kernel install
 Warnings:
  - no CAP_SYS_RESOURCE
`
	if b.String() != want {
		t.Errorf("it prints\n%s\nwant\n%s", b.String(), want)
	}
}
