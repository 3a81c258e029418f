package main

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"math"
	"math/rand"
	"strconv"
	"strings"
	"sync"
)

// The bytes of every object are a window into one pattern, so that whatever is written can be compared with what
// should have been read, at the speed of memory.
const patternSize = 8<<20 - 11

var pattern = func() []byte {
	bytes := make([]byte, 2*patternSize)
	random := rand.New(rand.NewSource(7))
	random.Read(bytes[:patternSize])
	copy(bytes[patternSize:], bytes[:patternSize])
	return bytes
}()

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type object struct {
	name   string
	size   int64
	offset int64

	once   sync.Once
	crc32c string
	md5    string
}

// At most this many bytes are hashed with MD5, which takes two seconds a GiB.
const mostHashed = 8 << 30

// Slice of the object from `at`, never longer than the pattern.
func (o *object) at(at int64, most int64) []byte {
	start := (o.offset + at) % patternSize
	left := o.size - at
	if left > most {
		left = most
	}
	if left > patternSize {
		left = patternSize
	}
	return pattern[start : start+left]
}

func (o *object) sums() (string, string) {
	o.once.Do(func() {
		sum, digest := uint32(0), md5.New()
		for at := int64(0); at < o.size; {
			chunk := o.at(at, o.size)
			sum = crc32.Update(sum, castagnoli, chunk)
			if o.size <= mostHashed {
				digest.Write(chunk)
			}
			at += int64(len(chunk))
		}
		o.crc32c = base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
		if o.size <= mostHashed {
			o.md5 = hex.EncodeToString(digest.Sum(nil))
		}
	})
	return o.crc32c, o.md5
}

type bucket struct {
	objects []*object
	byName  map[string]*object
}

var (
	bucketsLock sync.Mutex
	buckets     = map[string]*bucket{}
)

// A bucket is what its name says: `of-20000-4096` holds 20,000 objects of 4 KiB, `mixed-2000` sizes by a log-normal.
func bucketOf(name string) *bucket {
	bucketsLock.Lock()
	defer bucketsLock.Unlock()
	if found := buckets[name]; found != nil {
		return found
	}
	parts := strings.Split(name, "-")
	if len(parts) < 2 {
		return nil
	}
	count, err := strconv.Atoi(parts[1])
	if err != nil {
		return nil
	}
	made := &bucket{byName: make(map[string]*object, count)}
	random := rand.New(rand.NewSource(11))
	for number := 0; number < count; number++ {
		var size int64
		if parts[0] == "mixed" {
			// Median 64 KiB, a long tail: the largest of 2,000 has some 100 MiB.
			size = int64(math.Exp(math.Log(64<<10) + 2.2*random.NormFloat64()))
			if size > 256<<20 {
				size = 256 << 20
			}
		} else if size, err = strconv.ParseInt(parts[2], 10, 64); err != nil {
			return nil
		}
		key := fmt.Sprintf("o%08d", number)
		hash := fnv.New32a()
		hash.Write([]byte(key))
		one := &object{name: key, size: size, offset: int64(hash.Sum32()) % patternSize}
		made.objects = append(made.objects, one)
		made.byName[key] = one
	}
	buckets[name] = made
	return made
}
