namespace LoraNet.Numerics;

/// <summary>
/// The numbers of PyTorch's generator on the CPU: the Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998). Only for what an
/// adapter's file leaves to be drawn again from a seed.
/// </summary>
internal sealed class TorchRandom
{
    private const int N = 624, M = 397;
    private readonly uint[] _state = new uint[N];
    private int _next = N;

    public TorchRandom(uint seed)
    {
        _state[0] = seed;
        for (uint i = 1; i < N; i++) _state[i] = 1812433253u * (_state[i - 1] ^ (_state[i - 1] >> 30)) + i;
    }

    /// <summary>Values of uniform_(−bound, bound): 24 bits of a word each, as a fraction, in binary32.</summary>
    public float[] Uniform(long count, double bound)
    {
        float from = (float)-bound, to = (float)bound;
        float[] values = new float[count];
        for (long i = 0; i < count; i++) values[i] = (Next() & 0xFFFFFF) * (1f / (1 << 24)) * (to - from) + from;
        return values;
    }

    private uint Next()
    {
        if (_next == N)
        {
            for (int i = 0; i < N; i++)
            {
                uint y = (_state[i] & 0x80000000u) | (_state[(i + 1) % N] & 0x7FFFFFFFu);
                _state[i] = _state[(i + M) % N] ^ (y >> 1) ^ ((y & 1) != 0 ? 0x9908B0DFu : 0);
            }
            _next = 0;
        }
        uint v = _state[_next++];
        v ^= v >> 11;
        v ^= (v << 7) & 0x9D2C5680u;
        v ^= (v << 15) & 0xEFC60000u;
        return v ^ (v >> 18);
    }
}
