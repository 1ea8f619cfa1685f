using System.Text.Json;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Tests.Golden;

/// <summary>One golden case of transformers + PEFT: model, adapters, batches and expected values.</summary>
internal sealed class ReferenceCase : IDisposable
{
    public ReferenceCase(string folder)
    {
        Folder = folder;
        Expected = SafetensorsFile.Open(Path.Combine(folder, "expected.safetensors"));
        Json = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "expected.json"))).RootElement;
    }

    public string Folder { get; }
    public SafetensorsFile Expected { get; }
    public JsonElement Json { get; }

    public int Steps => Json.GetProperty("steps").GetInt32();

    public float[] Values(string name) => Expected.Tensors[name].ToArray();

    public double Scalar(string name) => Values(name)[0];

    /// <summary>Rows of the fixed batch of a step.</summary>
    public List<TokenRow> Rows(int step)
    {
        HostTensor ids = Expected.Tensors[$"step{step}.input_ids"];
        int rows = ids.Shape[0], length = ids.Shape[1];
        float[] i = ids.ToArray(), m = Values($"step{step}.attention_mask"), l = Values($"step{step}.labels");
        List<TokenRow> result = [];
        for (int r = 0; r < rows; r++)
            result.Add(new TokenRow(Row(i, r), Row(l, r), Row(m, r)));
        return result;

        int[] Row(float[] values, int r) => [.. values.Skip(r * length).Take(length).Select(v => (int)v)];
    }

    public void Dispose() => Expected.Dispose();
}
