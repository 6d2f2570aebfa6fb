package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
)

// The layout of bbolt's pages, from its format version 2. Integers have the byte order of the machine.
const (
	pageHeader   = 16 // id u64, flags u16, count u16, overflow u32
	pageElement  = 16 // branch: position u32, key size u32, page u64; leaf: flags, position, key size, value size, each u32
	bucketHeader = 16 // root page u64, sequence u64; if the root is 0, the bucket's only page follows
	metaLen      = 64 // magic, version, page size, flags, each u32; bucket header; freelist, pages, transaction, checksum

	metaMagic  = 0xED0CDAED
	noFreelist = math.MaxUint64

	flagBranch   = 1
	flagLeaf     = 2
	flagFreelist = 16
	flagBucket   = 1 // of a leaf's element
)

// pageReader walks a database file as bbolt would, but expects nothing of it.
type pageReader struct {
	file     io.ReaderAt
	pageSize uint64
	pages    uint64          // in use; those beyond are not written yet
	seen     map[uint64]bool // a page has one parent
}

// checkPages answers an error that names the first page which is not what it must be. It sees broken structure, not
// changed values.
func checkPages(f io.ReaderAt, size int64, pageSize int) error {
	meta, err := readMeta(f, int64(pageSize))
	if err != nil {
		return err
	}
	r := &pageReader{
		file: f, pageSize: uint64(pageSize), pages: meta.pages,
		seen: map[uint64]bool{0: true, 1: true},
	}
	if limit := uint64(size) / r.pageSize; r.pages > limit {
		return fmt.Errorf("the file is truncated: it has %d pages of %d", limit, r.pages)
	}
	if meta.freelist != noFreelist {
		if err := r.checkFreelist(meta.freelist); err != nil {
			return err
		}
	}
	return r.checkTree(meta.root, nil, nil)
}

type boltMeta struct{ root, freelist, pages, transaction uint64 }

// readMeta answers the newer of the two meta pages that are whole: bbolt writes them in turn.
func readMeta(f io.ReaderAt, pageSize int64) (newest boltMeta, err error) {
	found := false
	for _, at := range [...]int64{0, pageSize} {
		b := make([]byte, metaLen)
		if _, err := f.ReadAt(b, at+pageHeader); err != nil && !errors.Is(err, io.EOF) {
			return boltMeta{}, err
		}
		sum := fnv.New64a()
		_, _ = sum.Write(b[:metaLen-8])
		if u32(b) != metaMagic || u64(b[metaLen-8:]) != sum.Sum64() {
			continue
		}
		m := boltMeta{root: u64(b[16:]), freelist: u64(b[32:]), pages: u64(b[40:]), transaction: u64(b[48:])}
		if !found || m.transaction > newest.transaction {
			newest, found = m, true
		}
	}
	if !found {
		return boltMeta{}, errors.New("no meta page is whole")
	}
	return newest, nil
}

// checkTree checks a page and all below it. Their keys must rise, from the first on and up to before the limit.
func (r *pageReader) checkTree(id uint64, first, limit []byte) error {
	page, err := r.read(id)
	if err != nil {
		return err
	}
	switch flags(page) {
	case flagLeaf:
		err = r.checkLeaf(page, first, limit)
	case flagBranch:
		err = r.checkBranch(page, first, limit)
	default:
		err = fmt.Errorf("it is neither branch nor leaf (flags %#x)", flags(page))
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// read answers a page with its overflow.
func (r *pageReader) read(id uint64) ([]byte, error) {
	if id >= r.pages {
		return nil, fmt.Errorf("page %d is beyond the end", id)
	}
	header := make([]byte, pageHeader)
	if _, err := r.file.ReadAt(header, int64(id*r.pageSize)); err != nil {
		return nil, err
	}
	if u64(header) != id {
		return nil, fmt.Errorf("page %d says that it is %d", id, u64(header))
	}
	length := uint64(u32(header[12:])) + 1
	if length > r.pages-id {
		return nil, fmt.Errorf("page %d reaches beyond the end", id)
	}
	for i := range length {
		if r.seen[id+i] {
			return nil, fmt.Errorf("page %d has two parents", id+i)
		}
		r.seen[id+i] = true
	}
	page := make([]byte, length*r.pageSize)
	_, err := r.file.ReadAt(page, int64(id*r.pageSize))
	return page, err
}

func (r *pageReader) checkBranch(page, first, limit []byte) error {
	n := count(page)
	if n == 0 {
		return errors.New("a branch without children")
	}
	keys := make([][]byte, 0, n+1)
	children := make([]uint64, 0, n)
	for i := range n {
		e, at, err := element(page, i)
		if err != nil {
			return err
		}
		key, err := span(page, at, u32(e), u32(e[4:]))
		if err != nil {
			return err
		}
		keys, children = append(keys, key), append(children, u64(e[8:]))
	}
	if err := checkOrder(keys, first, limit); err != nil {
		return err
	}
	keys = append(keys, limit)
	for i, child := range children {
		if err := r.checkTree(child, keys[i], keys[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (r *pageReader) checkLeaf(page, first, limit []byte) error {
	n := count(page)
	keys := make([][]byte, 0, n)
	for i := range n {
		e, at, err := element(page, i)
		if err != nil {
			return err
		}
		key, err := span(page, at, u32(e[4:]), u32(e[8:]))
		if err != nil {
			return err
		}
		value, err := span(page, at, u32(e[4:])+u32(e[8:]), u32(e[12:]))
		if err != nil {
			return err
		}
		keys = append(keys, key)
		if u32(e)&flagBucket == 0 {
			continue
		}
		if err := r.checkBucket(value); err != nil {
			return fmt.Errorf("bucket %q: %w", key, err)
		}
	}
	return checkOrder(keys, first, limit)
}

func (r *pageReader) checkBucket(value []byte) error {
	if len(value) < bucketHeader {
		return errors.New("it has no root")
	}
	if root := u64(value); root != 0 {
		return r.checkTree(root, nil, nil)
	}
	page := value[bucketHeader:]
	if len(page) < pageHeader || flags(page) != flagLeaf {
		return errors.New("its page is not a leaf")
	}
	return r.checkLeaf(page, nil, nil)
}

// checkFreelist expects a list in a file that other software has written: this package writes none.
func (r *pageReader) checkFreelist(id uint64) error {
	page, err := r.read(id)
	if err != nil {
		return err
	}
	if flags(page) != flagFreelist {
		return fmt.Errorf("page %d is not the list of free pages", id)
	}
	n, ids := uint64(count(page)), page[pageHeader:]
	if n == math.MaxUint16 { // then the count is in the first place
		n, ids = u64(ids), ids[8:]
	}
	if n > uint64(len(ids))/8 {
		return fmt.Errorf("page %d: the list of free pages is cut off", id)
	}
	for i := range n {
		if free := u64(ids[8*i:]); free < 2 || free >= r.pages {
			return fmt.Errorf("page %d: free page %d is beyond the end", id, free)
		}
	}
	return nil
}

// checkOrder answers an error unless keys rise, none before first, all before limit. A nil bound is none.
func checkOrder(keys [][]byte, first, limit []byte) error {
	for i, key := range keys {
		if i > 0 && bytes.Compare(keys[i-1], key) >= 0 {
			return errors.New("its keys do not rise")
		}
		if bytes.Compare(key, first) < 0 || limit != nil && bytes.Compare(key, limit) >= 0 {
			return errors.New("a key is on the wrong page")
		}
	}
	return nil
}

// element answers the i-th element of a page and where it begins, from where positions count.
func element(page []byte, i int) (e []byte, at int, err error) {
	at = pageHeader + i*pageElement
	if at+pageElement > len(page) {
		return nil, 0, errors.New("its elements do not fit")
	}
	return page[at : at+pageElement], at, nil
}

func span(page []byte, at int, position, length uint32) ([]byte, error) {
	from := uint64(at) + uint64(position)
	to := from + uint64(length)
	if to > uint64(len(page)) {
		return nil, errors.New("a key or value reaches beyond the end")
	}
	return page[from:to], nil
}

func flags(page []byte) uint16 { return binary.NativeEndian.Uint16(page[8:]) }
func count(page []byte) int    { return int(binary.NativeEndian.Uint16(page[10:])) }
func u32(b []byte) uint32      { return binary.NativeEndian.Uint32(b) }
func u64(b []byte) uint64      { return binary.NativeEndian.Uint64(b) }
