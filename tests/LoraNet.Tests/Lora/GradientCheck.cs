using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Training;

namespace LoraNet.Tests.Lora;

/// <summary>Central differences of the loss along random directions, on the reference backend with F64 storage.</summary>
internal static class GradientCheck
{
    /// <summary>The largest difference between g·d and the central difference, over all trained parameters, relative to the change.</summary>
    public static double Worst(CausalLM model, List<TokenRow> rows, ForwardContext context, int seed, double step = 2e-4)
    {
        Backend backend = model.Backend;
        Assert.Equal(DType.F64, backend.ComputeType);
        List<Parameter> parameters = [.. model.TrainableParameters];
        Assert.NotEmpty(parameters);
        foreach (Parameter parameter in parameters) backend.Zero(parameter.Gradient);
        Loss();
        Dictionary<Parameter, float[]> gradients = parameters.ToDictionary(p => p, p => backend.Download(p.Gradient));
        Random random = new(seed);
        double worst = 0;
        foreach (Parameter parameter in parameters)
        {
            float[] start = backend.Download(parameter.Value), up = new float[start.Length], down = new float[start.Length];
            double expected = 0;
            for (int i = 0; i < start.Length; i++)
            {
                float change = (float)(((random.NextDouble() - 0.5) * step));
                (up[i], down[i]) = (start[i] + change, start[i] - change);
                expected += gradients[parameter][i] * ((double)up[i] - down[i]);
            }
            backend.Upload(up, parameter.Value);
            double above = Loss();
            backend.Upload(down, parameter.Value);
            double below = Loss();
            backend.Upload(start, parameter.Value);
            // A gradient of 1e-3 changes the loss by about 1e-3 of a step.
            worst = Math.Max(worst, Math.Abs(above - below - expected) / Math.Max(Math.Abs(expected), 1e-3 * step));
        }
        return worst;

        double Loss()
        {
            using Arena arena = new(backend);
            using TokenBatch batch = TokenBatch.Create(backend, rows, model.Options.VocabularySize);
            Tensor sum = backend.Create(backend.ParameterType, 1);
            backend.Zero(sum);
            model.AccumulateLoss(new Tape(arena), batch, context, 1f / batch.TrainedTokens, sum);
            Assert.Equal(0, arena.Live);
            Span<byte> bytes = stackalloc byte[sizeof(double)];
            backend.DownloadBytes(sum, bytes);
            backend.Free(sum);
            return BitConverter.ToDouble(bytes) / batch.TrainedTokens;
        }
    }
}
