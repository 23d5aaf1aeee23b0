# SPDX-License-Identifier: Apache-2.0
"""What nvcc made of the kernels, read from the built files: no GPU, and nothing compiled again.

    kernels.py TABLE NVCC_VERSION FILE...           compares with the committed table
    kernels.py --write TABLE NVCC_VERSION FILE...   writes it anew

A cubin holds what `ptxas -v` would print and, with -lineinfo, the PTX that it was made of.
With the version of nvcc that made the table nothing may get worse. With others, which allocate
registers differently, only what holds of all of them: our kernels have no stack frame, so no spills;
no approximate and no flushing instruction, no barrier that only some threads may reach; 16-byte
accesses wherever the table has some, and none of images that were split into words. What PTX cannot
tell, barriers behind a divergent branch, the tests find under the emulator.
"""
import re
import struct
import subprocess
import sys
from collections.abc import Iterator

# By architecture and function: a number for each column.
Table = dict[tuple[str, str], list[int]]

HEADER = """\
# Made with nvcc {version} by: cmake --build --preset cuda --target kernels_table
# Checked by kernels.py. Registers a thread (0: a function that kernels call), bytes of shared
# memory, bytes of stack frame (where spills would lie); in the PTX: 16-byte loads and stores of
# global memory, fma.rn.f32.
#arch  registers shared stack  load16 store16    fma  function
"""
LINE = "{:<6} {:>10} {:>6} {:>5} {:>7} {:>7} {:>6}  {}"
COLUMNS = ("registers", "bytes of shared memory", "bytes of stack",
           "16-byte loads", "16-byte stores", "fma")
REGISTERS, SHARED, STACK, LOADS, STORES, FMA = range(6)

# Names as cuobjdump prints them.
EM_CUDA, EIATTR_FRAME_SIZE, EIATTR_MIN_STACK_SIZE, EIATTR_REGCOUNT = 190, 0x11, 0x12, 0x2F
RESERVED = 1024  # of each block's shared memory, by the driver; cubins count it from sm_90 on

FORBIDDEN = re.compile(r"\.ftz\b|\.approx\b|\bdiv\.full\b|^\s*@!?[%\w]+\s+bar(rier)?\.")
# The last of the four words of a 16-byte store, where the compiler splits one.
SPLIT = re.compile(r"\bst\.(?:global\.)?[a-z]32\s+\[%\w+\+12\]")
# As they are mangled. Step kernels mix by the same code, and write rows by words.
OF_IMAGES = re.compile(r"\d(?:mix_kernel|mix_in_place_kernel)I")
# Of global memory, also where the compiler does not know that it is: functions that kernels call.
ACCESS = re.compile(r"\b(ld|st)\.(?!shared|local|param|const)(?:[\w:]+\.)*v(\d)\.[a-z]+(\d+)\b")


class Cubin:
    def __init__(self, data: bytes) -> None:
        self.data = data
        at, = struct.unpack_from("<Q", data, 0x28)
        count, of_names = struct.unpack_from("<HH", data, 0x3C)
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, at + 64 * i) for i in range(count)]
        names = headers[of_names][4]
        # .nv.shared.* have a size, but no bytes in the file.
        self.sections = {self.text(names + h[0]): (h[4], h[5]) for h in headers}

    def text(self, at: int) -> str:
        return self.data[at:self.data.index(b"\0", at)].decode()

    def section(self, name: str) -> bytes:
        at, size = self.sections.get(name, (0, 0))
        return self.data[at:at + size]

    def symbol(self, index: int) -> str:
        name, = struct.unpack_from("<I", self.section(".symtab"), 24 * index)
        return self.text(self.sections[".strtab"][0] + name)

    def ptx(self) -> str:
        return self.section(".nv_debug_ptx_txt").decode().replace("\0", "\n")

    def attributes(self) -> Iterator[tuple[int, str, int]]:
        """(attribute, symbol, value) of .nv.info"""
        info, at = self.section(".nv.info"), 0
        while at < len(info):
            form, attribute, size = struct.unpack_from("<BBH", info, at)
            at += 4
            if form != 4:  # its value is in place of the size
                continue
            if size == 8:
                index, value = struct.unpack_from("<II", info, at)
                yield attribute, self.symbol(index), value
            at += size


def cubins(path: str) -> list[Cubin]:
    with open(path, "rb") as file:
        data = file.read()
    found, at = [], data.find(b"\x7fELF")
    while at >= 0:
        if data[at + 4] == 2 and struct.unpack_from("<H", data, at + 18)[0] == EM_CUDA:
            found.append(Cubin(memoryview(data)[at:].tobytes()))
        at = data.find(b"\x7fELF", at + 4)
    if not found and b".nv_fatbin" in data:
        sys.exit(f"{path}: no cubin found; is it compressed? nvcc's --compress-mode=none helps")
    return found


def short(names: list[str]) -> dict[str, str]:
    """Demangled, without namespaces and parameters; of CUB's without templates' arguments."""
    out = subprocess.run(["c++filt"], input="\n".join(names), text=True, check=True,
                         stdout=subprocess.PIPE).stdout.splitlines()
    result = {}
    for name, full in zip(names, out):
        full = full.replace("(anonymous namespace)::", "").removeprefix("void ")
        foreign = full.startswith("cub::")
        if foreign:
            full = full.split("<")[0]
        result[name] = "cub::" * foreign + re.sub(r"\b\w+::", "", full.split("(")[0])
    return result


def measure(paths: list[str]) -> tuple[Table, list[tuple[str, str, str]]]:
    """What was found, and each forbidden instruction by architecture and function."""
    found, forbidden = {}, []
    for path in paths:
        for cubin in cubins(path):
            ptx = cubin.ptx()
            target = re.search(r"^\.target (sm_\d+)", ptx, re.M)
            if not target:
                sys.exit(f"{path}: a cubin without PTX; was it compiled without -lineinfo?")
            architecture, numbers = target.group(1), {}
            of = lambda name: numbers.setdefault(name, [0] * len(COLUMNS))
            for attribute, name, value in cubin.attributes():
                if attribute == EIATTR_REGCOUNT:
                    of(name)[REGISTERS] = value
            entries = list(numbers)
            for attribute, name, value in cubin.attributes():
                # Of functions inside a kernel too, but the kernel's is with all that it calls.
                if attribute in (EIATTR_FRAME_SIZE, EIATTR_MIN_STACK_SIZE) and name in entries:
                    of(name)[STACK] = max(of(name)[STACK], value)
            for name in entries:
                size = cubin.sections.get(".nv.shared." + name, (0, 0))[1]
                if int(architecture[3:]) >= 90:
                    size = max(size - RESERVED, 0)
                of(name)[SHARED] = size
            name = ""
            for line in ptx.splitlines():
                begin = re.search(r"\.(?:entry|func)\s+(?:\([^)]*\)\s*)?(\w+)", line)
                if begin:
                    name = begin.group(1)
                    of(name)
                if FORBIDDEN.search(line) or (OF_IMAGES.search(name) and SPLIT.search(line)):
                    forbidden.append((architecture, name, line.strip()))
                access = ACCESS.search(line)
                if access and int(access.group(2)) * int(access.group(3)) >= 128:
                    of(name)[LOADS if access.group(1) == "ld" else STORES] += 1
                of(name)[FMA] += "fma.rn.f32" in line
            numbers.pop("", None)
            shorter = short(list(numbers))
            for name, row in numbers.items():
                key = architecture, shorter[name]
                found[key] = list(map(max, row, found.get(key, row)))  # in several files
            forbidden = [(a, shorter.get(n, n), line) for a, n, line in forbidden]
    if not found:
        sys.exit("no cubin found")
    return found, forbidden


def write(path: str, version: str, found: Table) -> None:
    with open(path, "w") as file:
        file.write(HEADER.format(version=version))
        for key in sorted(found, key=lambda key: (int(key[0][3:]), key[1])):
            file.write(LINE.format(key[0], *found[key], key[1]) + "\n")
    print(f"{path}: {len(found)} lines")


def read(path: str) -> tuple[str, Table]:
    with open(path) as file:
        version, table = file.readline().split()[4], {}
        for line in file:
            if not line.startswith("#"):
                fields = line.split(None, 1 + len(COLUMNS))
                table[fields[0], fields[-1].strip()] = [int(n) for n in fields[1:-1]]
    return version, table


def compare(table: Table, found: Table, same_version: bool) -> tuple[list[str], list[str]]:
    """([what fails], [what is only worth knowing])"""
    bad, known = [], []
    changes = bad if same_version else known
    tabled = {architecture for architecture, _ in table}
    for key, now in sorted(found.items()):
        what = "{} {}: ".format(*key)
        if now[STACK] and not key[1].startswith("cub::"):
            bad.append(f"{what}{now[STACK]} bytes of stack, where there must be none")
        if key not in table:
            if key[0] in tabled:
                changes.append(f"{what}not in the table")
            continue
        for column, (old, new) in enumerate(zip(table[key], now)):
            if new == old:
                continue
            if column in (LOADS, STORES) and new == 0:
                where = bad
            elif column in (REGISTERS, SHARED, STACK) and new < old:
                where = known
            else:
                where = changes
            where.append(f"{what}{new} {COLUMNS[column]}, the table says {old}")
    built = {architecture for architecture, _ in found}
    changes += [f"{a} {name}: in the table only" for a, name in sorted(table.keys() - found.keys())
                if a in built]
    known += [f"{a}: not in the table, so only stacks are looked at" for a in built - tabled]
    return bad, known


def main() -> None:
    arguments = sys.argv[1:]
    writes = arguments[:1] == ["--write"]
    path, version, *files = arguments[writes:]
    found, forbidden = measure(files)
    if writes:
        return write(path, version, found)
    made_with, table = read(path)
    bad, known = compare(table, found, made_with == version)
    bad += [f"{a} {name}: {line}" for a, name, line in sorted(set(forbidden))]
    if made_with != version:
        print(f"nvcc is {version}, the table was made with {made_with}: only stacks, "
              "forbidden instructions and the loss of all 16-byte accesses fail.")
    print("\n".join([f"changed: {line}" for line in known] + [f"FAILED: {line}" for line in bad]))
    kernels = sum(row[REGISTERS] > 0 for row in found.values())
    print(f"{kernels} kernels of {', '.join(sorted({a for a, _ in found}))}")
    if bad:
        sys.exit("If this is meant: cmake --build --preset cuda --target kernels_table")


main()
