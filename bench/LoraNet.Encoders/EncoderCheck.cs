using System.Text.Json;
using LoraNet.Data;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Tokenizers;

/// <summary>Compares the converted encoder with ONNX Runtime's hidden states for a few sentences, and the tokenizer with their ids.</summary>
internal static class EncoderCheck
{
    /// <summary>The largest differences.</summary>
    /// <param name="model">The converted folder.</param>
    /// <param name="expected">JSON: models.MiniLM[] with text, ids, clsHidden_first8, meanPooledNormalised_first8, sumHidden.</param>
    public static bool Run(string model, string expected)
    {
        using Backend backend = new CpuBackend();
        using SequenceClassifier encoder = SequenceClassifier.Load(model, backend);
        using Arena arena = new(backend);
        Tokenizer tokenizer = Tokenizer.Load(model);
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(expected));
        double worst = 0, worstSum = 0;
        bool sameIds = true;
        foreach (JsonElement sentence in json.RootElement.GetProperty("models").GetProperty("MiniLM").EnumerateArray())
        {
            int[] ids = [.. sentence.GetProperty("ids").EnumerateArray().Select(e => e.GetInt32())];
            sameIds &= ids.AsSpan().SequenceEqual(tokenizer.Encode(sentence.GetProperty("text").GetString()!));
            using EncoderBatch batch = EncoderBatch.Create(backend, [new ClassificationRow(ids, null, null, 0)], encoder.Options);
            Tensor hidden = encoder.HiddenStates(arena, batch);
            float[] values = backend.Download(hidden);
            Arena.Release(hidden);
            int width = encoder.Options.HiddenSize;
            double[] mean = new double[width];
            for (int i = 0; i < values.Length; i++) mean[i % width] += values[i] / (double)ids.Length;
            double norm = Math.Sqrt(mean.Sum(m => m * m));
            Compare("clsHidden_first8", i => values[i]);
            Compare("meanPooledNormalised_first8", i => mean[i] / norm);
            worstSum = Math.Max(worstSum, Math.Abs(values.Sum(v => (double)v) - sentence.GetProperty("sumHidden").GetDouble()) / values.Sum(v => Math.Abs((double)v)));

            void Compare(string key, Func<int, double> actual)
            {
                int i = 0;
                foreach (JsonElement e in sentence.GetProperty(key).EnumerateArray()) worst = Math.Max(worst, Math.Abs(e.GetDouble() - actual(i++)));
            }
        }
        bool good = worst < 1e-5 && worstSum < 1e-6 && sameIds;
        Console.WriteLine(FormattableString.Invariant($"largest difference {worst:e1}, of sums {worstSum:e1} of the magnitude, token ids {(sameIds ? "equal" : "DIFFER")}: {(good ? "good" : "NOT GOOD")}"));
        return good;
    }
}
