package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Runs a command to its end and says what it took, by the accounts of the kernel.
func measure(command []string) {
	child := exec.Command(command[0], command[1:]...)
	child.Stdout, child.Stderr = os.Stderr, os.Stderr
	begun := time.Now()
	err := child.Run()
	wall := time.Since(begun)
	if child.ProcessState == nil {
		panic(err)
	}
	usage := child.ProcessState.SysUsage().(*syscall.Rusage)
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"code":    child.ProcessState.ExitCode(),
		"wallMs":  float64(wall.Microseconds()) / 1000,
		"cpuMs":   float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e6,
		"peakMiB": float64(usage.Maxrss) / 1024,
	})
}
