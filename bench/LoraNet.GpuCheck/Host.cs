using System.Numerics;
using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;

namespace LoraNet.GpuCheck;

/// <summary>Random host data, conversions and comparisons.</summary>
internal static class Host
{
    /// <summary>Normal random values.</summary>
    public static float[] Normal(long n, int seed)
    {
        float[] x = new float[n];
        int blocks = (int)((n + 65535) / 65536);
        Parallel.For(0, blocks, b =>
        {
            Random r = new(seed * 7919 + b);
            for (long i = (long)b * 65536; i < Math.Min(n, (b + 1L) * 65536); i++)
                x[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - r.NextDouble())) * Math.Cos(2 * Math.PI * r.NextDouble()));
        });
        return x;
    }

    /// <summary>Rounds every value to the type, in place, and returns the bytes as the device stores them.</summary>
    public static byte[] Encode(float[] x, PtxType type)
    {
        byte[] bytes = new byte[(long)x.Length * type.Bytes()];
        Parallel.For(0, (x.Length + 65535) / 65536, b =>
        {
            for (int i = b * 65536; i < Math.Min(x.Length, (b + 1) * 65536); i++)
            {
                if (type == PtxType.F32) BitConverter.TryWriteBytes(bytes.AsSpan(i * 4), x[i]);
                else
                {
                    ushort h = type == PtxType.F16 ? BitConverter.HalfToUInt16Bits((Half)x[i]) : ToBf16(x[i]);
                    x[i] = FromBits(h, type);
                    BitConverter.TryWriteBytes(bytes.AsSpan(i * 2), h);
                }
            }
        });
        return bytes;
    }

    /// <summary>Reads n elements of the type from the device.</summary>
    public static float[] Download(DeviceBuffer buffer, long n, PtxType type) => type == PtxType.F32
        ? buffer.Download<float>(n)
        : [.. buffer.Download<ushort>(n).Select(h => FromBits(h, type))];

    public static ushort ToBf16(float x)
    {
        uint u = BitConverter.SingleToUInt32Bits(x);
        return (ushort)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
    }

    public static float FromBits(ushort h, PtxType type) => type == PtxType.F16 ? (float)BitConverter.UInt16BitsToHalf(h) : BitConverter.UInt32BitsToSingle((uint)h << 16);

    public static T Median<T>(List<T> values)
        where T : INumber<T>
    {
        values.Sort();
        return values[values.Count / 2];
    }
}
