namespace LoraNet.Tests.Adapters;

/// <summary>
/// PyTorch's <c>Tensor.normal_</c> on the CPU after <c>torch.manual_seed</c>, for sizes that are multiples of 16: MT19937
/// (Matsumoto and Nishimura, 1998), 24-bit uniforms, Box-Muller over halves of 16. It recovers tensors that a reference script
/// drew but did not store.
/// </summary>
internal sealed class TorchNormal
{
    private readonly uint[] _state = new uint[624];
    private int _next = 624;

    public TorchNormal(uint seed)
    {
        _state[0] = seed;
        for (uint i = 1; i < 624; i++) _state[i] = 1812433253 * (_state[i - 1] ^ (_state[i - 1] >> 30)) + i;
    }

    public float[] Next(int count, double deviation)
    {
        if (count % 16 != 0) throw new ArgumentException("PyTorch draws other sizes differently.", nameof(count));
        double[] u = [.. Enumerable.Range(0, count).Select(_ => (Word() & 0xFFFFFF) / 16777216.0)];
        float[] values = new float[count];
        for (int i = 0; i < count; i += 16)
        {
            for (int j = i; j < i + 8; j++)
            {
                double radius = deviation * Math.Sqrt(-2 * Math.Log(1 - u[j])), angle = 2 * Math.PI * u[j + 8];
                (values[j], values[j + 8]) = ((float)(radius * Math.Cos(angle)), (float)(radius * Math.Sin(angle)));
            }
        }
        return values;
    }

    private uint Word()
    {
        if (_next == 624)
        {
            for (int i = 0; i < 624; i++)
            {
                uint y = (_state[i] & 0x80000000) | (_state[(i + 1) % 624] & 0x7FFFFFFF);
                _state[i] = _state[(i + 397) % 624] ^ (y >> 1) ^ ((y & 1) * 0x9908B0DF);
            }
            _next = 0;
        }
        uint w = _state[_next++];
        w ^= w >> 11;
        w ^= (w << 7) & 0x9D2C5680;
        w ^= (w << 15) & 0xEFC60000;
        return w ^ (w >> 18);
    }
}
