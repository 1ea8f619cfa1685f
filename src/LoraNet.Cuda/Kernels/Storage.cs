using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Four neighbouring elements in binary32, the unit in which kernels move data (8 or 16 bytes a thread).</summary>
internal struct Pack
{
    public float X, Y, Z, W;

    public Pack(float x, float y, float z, float w) => (X, Y, Z, W) = (x, y, z, w);
}

/// <summary>Eight neighbouring elements in binary32: 16 bytes of a 16-bit type, the widest access.</summary>
internal struct Octet
{
    public Pack Low, High;

    public static Octet Add(Octet a, Octet b)
    {
        a.Low = new Pack(a.Low.X + b.Low.X, a.Low.Y + b.Low.Y, a.Low.Z + b.Low.Z, a.Low.W + b.Low.W);
        a.High = new Pack(a.High.X + b.High.X, a.High.Y + b.High.Y, a.High.Z + b.High.Z, a.High.W + b.High.W);
        return a;
    }

    public static float Dot(Octet a, Octet b) => Dot(a.Low, b.Low) + Dot(a.High, b.High);

    private static float Dot(Pack a, Pack b) => a.X * b.X + a.Y * b.Y + (a.Z * b.Z + a.W * b.W);
}

/// <summary>16 bytes at an address that is a multiple of 16: <see cref="Runtime.PtxCompiler"/> moves them in one access.</summary>
internal struct Wide
{
    public ulong A, B;
}

/// <summary>Four packs a group's width apart: enough loads in flight to hide the memory's latency.</summary>
internal struct Quad
{
    public Pack A, B, C, D;
}

/// <summary>
/// How an element type lies in memory. Kernels are generic over it, so that each is written once; all arithmetic is
/// binary32. Addresses are plain 64-bit numbers: kernel arguments are then flat structs that the driver copies as they
/// are, and the same code runs on ILGPU's CPU accelerator.
/// </summary>
internal interface IStorage
{
    /// <summary>Bytes of one element.</summary>
    static abstract int Size { get; }

    /// <summary>Element <paramref name="index"/> widened to binary32; exact.</summary>
    static abstract float Load(long address, long index);

    /// <summary>Rounds to nearest even and stores.</summary>
    static abstract void Store(long address, long index, float value);

    /// <summary>Four elements from <paramref name="index"/> on; the first must be 8-byte aligned.</summary>
    static abstract Pack LoadPack(long address, long index);

    /// <summary>Stores four elements; the first must be 8-byte aligned.</summary>
    static abstract void StorePack(long address, long index, Pack value);

    /// <summary>Eight elements from <paramref name="index"/> on; the first must be 16-byte aligned.</summary>
    static abstract Octet LoadOctet(long address, long index);

    /// <summary>Stores eight elements; the first must be 16-byte aligned.</summary>
    static abstract void StoreOctet(long address, long index, Octet value);

    /// <summary>What would be read after storing <paramref name="value"/>.</summary>
    static abstract Octet Round(Octet value);
}

/// <summary>IEEE 754 binary32.</summary>
internal readonly unsafe struct StoredF32 : IStorage
{
    public static int Size => 4;

    public static float Load(long address, long index) => *(float*)(address + index * 4);

    public static void Store(long address, long index, float value) => *(float*)(address + index * 4) = value;

    public static Pack LoadPack(long address, long index)
    {
        ulong low = *(ulong*)(address + index * 4), high = *(ulong*)(address + index * 4 + 8);
        return new Pack(Interop.IntAsFloat((uint)low), Interop.IntAsFloat((uint)(low >> 32)),
            Interop.IntAsFloat((uint)high), Interop.IntAsFloat((uint)(high >> 32)));
    }

    public static void StorePack(long address, long index, Pack value)
    {
        *(ulong*)(address + index * 4) = Interop.FloatAsInt(value.X) | (ulong)Interop.FloatAsInt(value.Y) << 32;
        *(ulong*)(address + index * 4 + 8) = Interop.FloatAsInt(value.Z) | (ulong)Interop.FloatAsInt(value.W) << 32;
    }

    public static Octet LoadOctet(long address, long index)
    {
        Wide low = *(Wide*)(address + index * 4), high = *(Wide*)(address + index * 4 + 16);
        Octet o = default;
        o.Low = Unpack(low);
        o.High = Unpack(high);
        return o;
    }

    public static void StoreOctet(long address, long index, Octet value)
    {
        *(Wide*)(address + index * 4) = ToWide(value.Low);
        *(Wide*)(address + index * 4 + 16) = ToWide(value.High);
    }

    public static Octet Round(Octet value) => value;

    private static Pack Unpack(Wide w) => new(Interop.IntAsFloat((uint)w.A), Interop.IntAsFloat((uint)(w.A >> 32)),
        Interop.IntAsFloat((uint)w.B), Interop.IntAsFloat((uint)(w.B >> 32)));

    private static Wide ToWide(Pack p)
    {
        Wide w = default;
        w.A = Interop.FloatAsInt(p.X) | (ulong)Interop.FloatAsInt(p.Y) << 32;
        w.B = Interop.FloatAsInt(p.Z) | (ulong)Interop.FloatAsInt(p.W) << 32;
        return w;
    }
}

/// <summary>bfloat16 as 16-bit integers.</summary>
internal readonly unsafe struct StoredBF16 : IStorage
{
    public static int Size => 2;

    public static float Load(long address, long index) => Widen(*(ushort*)(address + index * 2));

    public static void Store(long address, long index, float value) => *(ushort*)(address + index * 2) = (ushort)Hardware.NarrowBF16(value, 0f);

    public static Pack LoadPack(long address, long index) => Unpack(*(ulong*)(address + index * 2));

    public static void StorePack(long address, long index, Pack value) => *(ulong*)(address + index * 2) = ToBits(value);

    public static Octet LoadOctet(long address, long index)
    {
        Wide w = *(Wide*)(address + index * 2);
        Octet o = default;
        o.Low = Unpack(w.A);
        o.High = Unpack(w.B);
        return o;
    }

    public static void StoreOctet(long address, long index, Octet value)
    {
        Wide w = default;
        w.A = ToBits(value.Low);
        w.B = ToBits(value.High);
        *(Wide*)(address + index * 2) = w;
    }

    public static Octet Round(Octet value)
    {
        value.Low = Unpack(ToBits(value.Low));
        value.High = Unpack(ToBits(value.High));
        return value;
    }

    private static Pack Unpack(ulong bits)
    {
        uint low = (uint)bits, high = (uint)(bits >> 32);
        return new Pack(Interop.IntAsFloat(low << 16), Interop.IntAsFloat(low & 0xffff0000), Interop.IntAsFloat(high << 16), Interop.IntAsFloat(high & 0xffff0000));
    }

    private static ulong ToBits(Pack p) => Hardware.NarrowBF16(p.X, p.Y) | (ulong)Hardware.NarrowBF16(p.Z, p.W) << 32;

    public static float Widen(uint bits) => Interop.IntAsFloat(bits << 16);

    /// <summary>Round to nearest even; NaN stays NaN.</summary>
    public static uint Narrow(float value)
    {
        uint bits = Interop.FloatAsInt(value);
        uint rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
        return (bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16) | 0x40 : rounded;
    }
}

/// <summary>IEEE 754 binary16 as 16-bit integers, converted by integer arithmetic: ILGPU's own narrowing truncates on the CPU.</summary>
internal readonly unsafe struct StoredF16 : IStorage
{
    public static int Size => 2;

    public static float Load(long address, long index) => Hardware.WidenLowF16(*(ushort*)(address + index * 2));

    public static void Store(long address, long index, float value) => *(ushort*)(address + index * 2) = (ushort)Hardware.NarrowF16(value, 0f);

    public static Pack LoadPack(long address, long index) => Unpack(*(ulong*)(address + index * 2));

    public static void StorePack(long address, long index, Pack value) => *(ulong*)(address + index * 2) = ToBits(value);

    public static Octet LoadOctet(long address, long index)
    {
        Wide w = *(Wide*)(address + index * 2);
        Octet o = default;
        o.Low = Unpack(w.A);
        o.High = Unpack(w.B);
        return o;
    }

    public static void StoreOctet(long address, long index, Octet value)
    {
        Wide w = default;
        w.A = ToBits(value.Low);
        w.B = ToBits(value.High);
        *(Wide*)(address + index * 2) = w;
    }

    public static Octet Round(Octet value)
    {
        value.Low = Unpack(ToBits(value.Low));
        value.High = Unpack(ToBits(value.High));
        return value;
    }

    private static Pack Unpack(ulong bits)
    {
        uint low = (uint)bits, high = (uint)(bits >> 32);
        return new Pack(Hardware.WidenLowF16(low), Hardware.WidenHighF16(low), Hardware.WidenLowF16(high), Hardware.WidenHighF16(high));
    }

    private static ulong ToBits(Pack p) => Hardware.NarrowF16(p.X, p.Y) | (ulong)Hardware.NarrowF16(p.Z, p.W) << 32;

    public static float Widen(uint bits)
    {
        // Seen as the bits of a binary32 the value is 2^112 too small, subnormals included; exponent 31 means infinity or NaN.
        float magnitude = Interop.IntAsFloat((bits & 0x7fff) << 13) * 5.192296858534828e33f;
        uint result = (bits & 0x7c00) == 0x7c00 ? 0x7f800000 | (bits & 0x3ff) << 13 : Interop.FloatAsInt(magnitude);
        return Interop.IntAsFloat(result | (bits & 0x8000) << 16);
    }

    /// <summary>Round to nearest even; overflow gives infinity, NaN stays NaN.</summary>
    public static uint Narrow(float value)
    {
        uint bits = Interop.FloatAsInt(value), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
        if (magnitude > 0x7f800000) return sign | 0x7e00;
        if (magnitude >= 0x477ff000) return sign | 0x7c00;
        // Below 2^-14: adding 0.5 moves the wanted bits to the bottom of the fraction, rounded by the hardware.
        if (magnitude < 0x38800000) return sign | (Interop.FloatAsInt(Interop.IntAsFloat(magnitude) + 0.5f) - 0x3f000000);
        return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13);
    }
}

/// <summary>Accesses that decide at run time: small operands (bias, norm weights) whose type need not multiply the kernels.</summary>
internal static unsafe class Stored
{
    /// <summary>Numbers of the storage types in kernel arguments and kernel tables.</summary>
    public const int F32 = 0, BF16 = 1, F16 = 2;

    /// <summary>Element <paramref name="index"/> of an array whose storage is <paramref name="kind"/>.</summary>
    public static float Load(int kind, long address, long index)
    {
        if (kind == F32) return StoredF32.Load(address, index);
        return kind == BF16 ? StoredBF16.Load(address, index) : StoredF16.Load(address, index);
    }

    /// <summary>Eight elements of an array of any storage; the first must be 16-byte aligned.</summary>
    public static Octet LoadOctet(int kind, long address, long index)
    {
        if (kind == F32) return StoredF32.LoadOctet(address, index);
        return kind == BF16 ? StoredBF16.LoadOctet(address, index) : StoredF16.LoadOctet(address, index);
    }

    public static int LoadInt(long address, long index) => *(int*)(address + index * 4);

    /// <summary>Columns c..c+3 of a row of <paramref name="columns"/> elements that begins at element <paramref name="row"/>;
    /// past the end zeros. Rows whose length is a multiple of 4 keep every pack aligned if the first is.</summary>
    public static Pack LoadRow<T>(long address, long row, int c, int columns)
        where T : struct, IStorage
    {
        if ((columns & 3) == 0 && (address & 7) == 0) return T.LoadPack(address, row + c);
        Pack p = default;
        p.X = T.Load(address, row + c);
        if (c + 1 < columns) p.Y = T.Load(address, row + c + 1);
        if (c + 2 < columns) p.Z = T.Load(address, row + c + 2);
        if (c + 3 < columns) p.W = T.Load(address, row + c + 3);
        return p;
    }

    /// <summary>Counterpart of <see cref="LoadRow"/>; stores only inside the row.</summary>
    public static void StoreRow<T>(long address, long row, int c, int columns, Pack value)
        where T : struct, IStorage
    {
        if ((columns & 3) == 0 && (address & 7) == 0)
        {
            T.StorePack(address, row + c, value);
            return;
        }
        T.Store(address, row + c, value.X);
        if (c + 1 < columns) T.Store(address, row + c + 1, value.Y);
        if (c + 2 < columns) T.Store(address, row + c + 2, value.Z);
        if (c + 3 < columns) T.Store(address, row + c + 3, value.W);
    }

    /// <summary>The packs of a row at <paramref name="c"/> and at one, two and three times <paramref name="step"/> after it; past the end zeros.</summary>
    public static Quad LoadQuad<T>(long address, long row, int c, int step, int columns)
        where T : struct, IStorage
    {
        Quad q = default;
        if ((columns & 3) == 0 && (address & 7) == 0)
        {
            if (c < columns) q.A = T.LoadPack(address, row + c);
            if (c + step < columns) q.B = T.LoadPack(address, row + c + step);
            if (c + 2 * step < columns) q.C = T.LoadPack(address, row + c + 2 * step);
            if (c + 3 * step < columns) q.D = T.LoadPack(address, row + c + 3 * step);
            return q;
        }
        if (c < columns) q.A = LoadRow<T>(address, row, c, columns);
        if (c + step < columns) q.B = LoadRow<T>(address, row, c + step, columns);
        if (c + 2 * step < columns) q.C = LoadRow<T>(address, row, c + 2 * step, columns);
        if (c + 3 * step < columns) q.D = LoadRow<T>(address, row, c + 3 * step, columns);
        return q;
    }

    /// <summary>Columns c..c+3 of a vector of any storage; past the end zeros.</summary>
    public static Pack LoadVector(int kind, long address, int c, int columns)
    {
        if (kind == F32) return LoadRow<StoredF32>(address, 0, c, columns);
        return kind == BF16 ? LoadRow<StoredBF16>(address, 0, c, columns) : LoadRow<StoredF16>(address, 0, c, columns);
    }
}
